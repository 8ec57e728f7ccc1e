// Package place keeps the place of something that comes, goes and is replaced while it is in
// use: a plugin. Who uses it takes it for one call; who replaces it can wait until the calls of
// the one before have ended. It must not know what it keeps.
package place

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// Errors of [Place.Take].
var (
	// ErrAway says that nobody is there.
	ErrAway = errors.New("it is not running")
	// ErrClosed says that nobody will come any more.
	ErrClosed = errors.New("it has been removed")
)

// Place is the place of one thing. The zero value is an empty place.
type Place[T any] struct {
	seat atomic.Pointer[Seat[T]]

	mu      sync.Mutex
	changed chan struct{} // closed when somebody comes or the place is closed
	closed  bool
}

// Seat is somebody at a place, with the calls that are under way.
type Seat[T any] struct {
	Value T

	mu      sync.Mutex
	calls   int
	retired bool
	idle    chan struct{} // made when somebody waits, closed when there are no calls
}

// Set lets another take the place. The channel is closed when the calls of the one before
// have ended.
func (p *Place[T]) Set(v T) (drained <-chan struct{}) {
	return p.swap(&Seat[T]{Value: v}).retire()
}

// Leave empties the place. Calls under way go on.
func (p *Place[T]) Leave() (drained <-chan struct{}) { return p.swap(nil).retire() }

// Close empties the place for good. Calls under way go on.
func (p *Place[T]) Close() (drained <-chan struct{}) {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	return p.Leave()
}

func (p *Place[T]) swap(s *Seat[T]) *Seat[T] {
	p.mu.Lock()
	defer p.mu.Unlock()
	old := p.seat.Swap(s)
	if p.changed != nil {
		close(p.changed)
		p.changed = nil
	}
	return old
}

// Take returns who is at the place, for one call that ends with Done. Where the place is empty
// it waits, no longer than patience, for somebody to come.
func (p *Place[T]) Take(ctx context.Context, patience time.Duration) (*Seat[T], error) {
	if s := p.seat.Load(); s != nil && s.enter() {
		return s, nil
	}
	var timer *time.Timer
	for {
		p.mu.Lock()
		if p.changed == nil {
			p.changed = make(chan struct{})
		}
		changed, closed, s := p.changed, p.closed, p.seat.Load()
		p.mu.Unlock()
		switch {
		case closed:
			return nil, ErrClosed
		case s != nil && s.enter():
			return s, nil
		case s != nil:
			continue // replaced since
		case patience <= 0:
			return nil, ErrAway
		}
		if timer == nil {
			timer = time.NewTimer(patience)
			defer timer.Stop()
		}
		select {
		case <-changed:
		case <-timer.C:
			return nil, ErrAway
		case <-ctx.Done():
			return nil, ErrAway
		}
	}
}

func (s *Seat[T]) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.retired {
		return false
	}
	s.calls++
	return true
}

// Done ends a call.
func (s *Seat[T]) Done() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.calls--; s.calls == 0 && s.idle != nil {
		close(s.idle)
		s.idle = nil
	}
}

func (s *Seat[T]) retire() <-chan struct{} {
	idle := make(chan struct{})
	if s == nil {
		close(idle)
		return idle
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.retired = true
	if s.calls == 0 {
		close(idle)
	} else {
		s.idle = idle
	}
	return idle
}
