package store

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/pintle-dev/pintle/core/store/internal/command"
	"github.com/pintle-dev/pintle/core/store/internal/fsm"
)

// reroute brings a flight's writes to who leads, where this server does not (any more).
// Between two attempts callers may give up and be certain that nothing was written.
//
// A flight that waits for a leader's last words makes room for the next one.
func (p *proposer) reroute(f *flight) {
	free := sync.OnceFunc(func() { <-p.slots })
	defer free()
	ctx, cancel := context.WithCancel(context.WithValue(context.Background(), onChangeKey{}, free))
	defer cancel()
	go func() {
		select {
		case <-p.store.closing:
			cancel()
		case <-ctx.Done():
		}
	}()
	f.release()
	err := p.store.withLeader(ctx, func(l lead) error {
		if !f.retake() {
			return nil // Nobody waits any more.
		}
		var (
			r   fsm.Response
			err error
		)
		if l.self {
			r, err = p.store.applyHere(f.entry(true))
		} else {
			r, err = p.store.relay(ctx, l, f.entry(false))
		}
		switch {
		case err == nil:
			return f.answer(r.Results)
		case errors.Is(err, ErrNotLeader):
			f.release()
		}
		return err
	})
	if f.buf != nil {
		p.reuse(f.buf)
	}
	if err == nil {
		return
	}
	if errors.Is(err, ErrNotLeader) || errors.Is(err, ErrClosed) {
		// Those who have given up know already.
		f.retake()
	}
	f.fail(err)
}

// release lets callers give up again: what they wrote is certainly in no log.
func (f *flight) release() {
	for _, w := range f.batch {
		w.stage.Store(waiting)
	}
	f.released = true
}

// retake takes the writes of those who still wait, and reports whether there are any.
func (f *flight) retake() bool {
	if !f.released {
		return len(f.batch) > 0
	}
	kept := f.batch[:0]
	for _, w := range f.batch {
		if w.stage.CompareAndSwap(waiting, taken) {
			kept = append(kept, w)
		}
	}
	f.thinned = f.thinned || len(kept) < len(f.batch)
	f.batch, f.released = kept, false
	return len(kept) > 0
}

// entry makes the log entry of what is left of the flight. What Raft is given is new, as it
// may still hold the one before.
func (f *flight) entry(forRaft bool) []byte {
	if !forRaft && f.buf != nil && !f.thinned {
		return *f.buf
	}
	size := 2
	for _, w := range f.batch {
		size += w.write.Size()
	}
	entry := command.BeginWrites(make([]byte, 0, size))
	for _, w := range f.batch {
		entry = w.write.Append(entry)
	}
	return entry
}

// answer tells callers their results.
func (f *flight) answer(results []fsm.Result) error {
	if len(results) != len(f.batch) {
		return fmt.Errorf("%w: %d results of %d writes", ErrUnknownOutcome, len(results), len(f.batch))
	}
	for i, w := range f.batch {
		w.done <- outcome{result: results[i]}
	}
	return nil
}
