package calls

// Item is one thing that goes over a stream whose calls read: a call or a result, or what has to
// do with a read. One of the two is set.
type Item[W, R any] struct {
	Work *W
	Read *R
}

// Split sorts the items of a message.
func Split[W, R any](items []Item[W, R]) (work []*W, reads []*R) {
	for _, i := range items {
		if i.Work != nil {
			work = append(work, i.Work)
		} else {
			reads = append(reads, i.Read)
		}
	}
	return work, reads
}
