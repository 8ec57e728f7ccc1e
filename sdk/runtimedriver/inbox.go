package runtimedriver

import (
	"io"
	"sync"
)

// inboxBytes is how much input waits for a command to read it before its sender does. Sizes of the
// terminal, which come after it, are not held up by that much.
const inboxBytes = 256 << 10

// inbox is input that has come and was not read yet.
type inbox struct {
	mu      sync.Mutex
	changed sync.Cond
	waiting []byte
	err     error // what reading ends with, when all has been read
	gone    bool  // nobody reads any more
}

var _ io.Reader = (*inbox)(nil)

func newInbox() *inbox {
	i := &inbox{}
	i.changed.L = &i.mu
	return i
}

// put adds input, when there is room.
func (i *inbox) put(p []byte) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for len(i.waiting) >= inboxBytes && i.err == nil && !i.gone {
		i.changed.Wait()
	}
	if i.err == nil && !i.gone {
		i.waiting = append(i.waiting, p...)
		i.changed.Broadcast()
	}
}

// end says how the input ends, io.EOF for well. The first word counts.
func (i *inbox) end(err error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.err == nil {
		i.err = err
	}
	i.changed.Broadcast()
}

// leave says that nobody reads any more: what still comes is dropped.
func (i *inbox) leave() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.gone, i.waiting = true, nil
	i.changed.Broadcast()
}

// Read implements io.Reader.
func (i *inbox) Read(p []byte) (int, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for {
		switch {
		case i.gone:
			return 0, io.ErrClosedPipe
		case len(i.waiting) > 0:
			n := copy(p, i.waiting)
			if i.waiting = i.waiting[n:]; len(i.waiting) == 0 {
				i.waiting = nil
			}
			i.changed.Broadcast()
			return n, nil
		case i.err != nil:
			return 0, i.err
		case len(p) == 0:
			return 0, nil
		}
		i.changed.Wait()
	}
}
