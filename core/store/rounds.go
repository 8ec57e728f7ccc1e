package store

import (
	"context"
	"sync"
)

// rounds lets those who ask the same at the same time share one question. Who comes while
// one is under way takes part in the next: its answer may be older than the asking.
type rounds struct {
	mu      sync.Mutex
	next    *round
	running bool
}

type round struct {
	done chan struct{}
	err  error
}

// join returns the result of a call of ask that began after join did.
func (r *rounds) join(ctx context.Context, ask func() error) error {
	r.mu.Lock()
	mine := r.next
	if mine == nil {
		mine = &round{done: make(chan struct{})}
		r.next = mine
	}
	if !r.running {
		r.running = true
		go r.run(ask)
	}
	r.mu.Unlock()
	select {
	case <-mine.done:
		return mine.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (r *rounds) run(ask func() error) {
	for {
		r.mu.Lock()
		now := r.next
		r.next = nil
		if now == nil {
			r.running = false
			r.mu.Unlock()
			return
		}
		r.mu.Unlock()
		now.err = ask()
		close(now.done)
	}
}
