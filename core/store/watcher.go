package store

import "context"

// Watcher is one cursor in the events of a bucket. It has no goroutine of its own. Its
// methods but for Close are for one goroutine at a time.
type Watcher struct{}

// Next returns the events after those already returned, at least one, in the order of
// their revisions. It blocks until there is one. It returns ctx's error when ctx ends,
// after which it may be called again; ErrCompacted when the watcher is so far behind that
// the history no longer has its place; ErrClosed after Close of watcher or store.
func (w *Watcher) Next(ctx context.Context) ([]*Event, error) { return nil, ErrClosed }

// Progress is the revision up to which the watcher has returned everything. It advances
// with writes to other buckets too, so it is what a bookmark may carry.
func (w *Watcher) Progress() uint64 { return 0 }

// Close ends the watcher and wakes its Next. It may be called from any goroutine.
func (w *Watcher) Close() {}
