package apiserver

// requestStack is about what the stack of a write needs: decoding, hooks and validation go
// deep.
const requestStack = 12 << 10

// growStack makes the calling goroutine's stack large enough for a request at once, while
// there is next to nothing on it. Every request comes on a new goroutine, whose stack would
// otherwise be doubled, and all frames on it copied and adjusted, three times on the way
// down. i must be less than requestStack.
//
//go:noinline
func growStack(i int) byte {
	var room [requestStack]byte // The call needs it, which is all it is for.
	return room[i]
}
