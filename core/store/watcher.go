package store

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/pintle-dev/pintle/core/store/internal/engine"
)

const (
	// watchBatch bounds the events that one call returns.
	watchBatch = 1024
	// historyRefs and historyBatch bound what a watcher that reads the stored history
	// keeps in memory: references, and events with their objects.
	historyRefs  = 8192
	historyBatch = 128
)

// Watcher is one cursor in the events of a bucket. It has no goroutine of its own. Its
// methods but for Close are for one goroutine at a time.
type Watcher struct {
	store  *Store
	prefix string
	topic  *topic

	// cursor: every event up to this revision has been returned.
	cursor uint64
	// refs are events found in the stored history, complete up to refsEnd.
	refs    []engine.Ref
	refsEnd uint64

	close  sync.Once
	closed chan struct{}
}

// Watch returns the events of a prefix after revision, in order. The prefix is "bucket/",
// "bucket/namespace/" or the key of one object. It fails with ErrCompacted if the history
// does not reach back to revision, and with ErrFutureRevision if that was not reached yet.
func (s *Store) Watch(ctx context.Context, prefix Key, after uint64) (*Watcher, error) {
	if err := s.checkPrefix(prefix, true); err != nil {
		return nil, err
	}
	if newest := s.index.Revision(); after > newest {
		return nil, fmt.Errorf("watch of %s after revision %d: %w: the newest is %d", prefix, after, ErrFutureRevision, newest)
	}
	w := &Watcher{store: s, prefix: string(prefix), cursor: after, closed: make(chan struct{})}
	if err := w.checkHorizon(after); err != nil {
		return nil, err
	}
	w.topic = s.events.subscribe(w.prefix)
	return w, nil
}

// Next returns the events after those already returned, at least one, in the order of
// their revisions. It blocks until there is one. It returns ctx's error when ctx ends,
// after which it may be called again; ErrCompacted when the watcher is so far behind that
// the history no longer has its place; ErrClosed after Close of watcher or store.
func (w *Watcher) Next(ctx context.Context) ([]*Event, error) {
	for {
		ready := w.topic.wait()
		if events, err := w.Poll(ctx); len(events) > 0 || err != nil {
			return events, err
		}
		select {
		case <-ready:
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-w.closed:
			return nil, ErrClosed
		case <-w.store.closing:
			return nil, ErrClosed
		}
	}
}

// Ready returns a channel that is closed when Poll may have something to return. Take it
// before calling Poll.
func (w *Watcher) Ready() <-chan struct{} { return w.topic.wait() }

// Poll is Next without the waiting: it returns no events where there are none yet.
func (w *Watcher) Poll(ctx context.Context) ([]*Event, error) {
	select {
	case <-w.closed:
		return nil, ErrClosed
	case <-w.store.closing:
		return nil, ErrClosed
	default:
	}
	for {
		if len(w.refs) > 0 {
			return w.fromHistory(ctx)
		}
		events, upTo, behind := w.store.events.read(w.prefix, w.cursor, watchBatch)
		if !behind {
			return w.opened(events, upTo)
		}
		if err := w.findHistory(ctx); err != nil {
			return nil, err
		}
	}
}

// opened returns events that lead to a revision with those made again that had to be made
// without what is sealed. Where that can't be opened, the events before it are returned first and
// the error the next time.
func (w *Watcher) opened(events []*Event, upTo uint64) ([]*Event, error) {
	for i, ev := range events {
		if !ev.sealed {
			continue
		}
		again, err := w.store.storedEvent(engine.Ref{Key: string(ev.Key), Revision: ev.Revision, Deleted: ev.Type == Deleted})
		if err != nil && i > 0 {
			w.cursor = events[i-1].Revision
			return events[:i], nil
		}
		if err != nil {
			return nil, errors.Join(w.checkHorizon(w.cursor), w.historyError(err))
		}
		events[i] = again
	}
	w.cursor = upTo
	return events, nil
}

// findHistory looks up the next stored events.
func (w *Watcher) findHistory(ctx context.Context) error {
	if err := w.checkHorizon(w.cursor); err != nil {
		return err
	}
	refs, end, err := w.store.engine.History(ctx, w.prefix, w.cursor, w.store.events.newest(), historyRefs)
	if err != nil {
		return w.historyError(err)
	}
	if err := w.checkHorizon(w.cursor); err != nil {
		return err
	}
	kept := refs[:0]
	for _, r := range refs {
		if matches(w.prefix, r.Key) {
			kept = append(kept, r)
		}
	}
	w.refs, w.refsEnd = kept, end
	if len(kept) == 0 {
		w.cursor = end
	}
	return nil
}

// fromHistory reads the events of some references.
func (w *Watcher) fromHistory(ctx context.Context) ([]*Event, error) {
	n := min(len(w.refs), historyBatch)
	events := make([]*Event, 0, n)
	for _, r := range w.refs[:n] {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		ev, err := w.store.storedEvent(r)
		if err != nil {
			// The horizon may have passed in the meantime: then that is the reason.
			return nil, errors.Join(w.checkHorizon(w.cursor), w.historyError(err))
		}
		events = append(events, ev)
	}
	if err := w.checkHorizon(w.cursor); err != nil {
		return nil, err
	}
	w.refs = w.refs[n:]
	w.cursor = events[n-1].Revision
	if len(w.refs) == 0 {
		w.refs, w.cursor = nil, w.refsEnd
	}
	return events, nil
}

func (w *Watcher) checkHorizon(cursor uint64) error {
	if h := w.store.horizon.Load(); cursor < h {
		return fmt.Errorf("watch of %s after revision %d: %w: the history begins at %d", w.prefix, cursor, ErrCompacted, h)
	}
	return nil
}

func (w *Watcher) historyError(err error) error {
	return fmt.Errorf("watch of %s after revision %d: %w", w.prefix, w.cursor, w.store.readError(err))
}

// Progress is the revision up to which the watcher has returned everything. It advances
// with writes to other buckets too, so it is what a bookmark may carry.
func (w *Watcher) Progress() uint64 {
	if len(w.refs) == 0 {
		if events, upTo, behind := w.store.events.read(w.prefix, w.cursor, 1); !behind && len(events) == 0 {
			w.cursor = upTo
		}
	}
	return w.cursor
}

// Close ends the watcher and wakes its Next. It may be called from any goroutine.
func (w *Watcher) Close() {
	w.close.Do(func() {
		close(w.closed)
		w.store.events.unsubscribe(w.prefix)
	})
}
