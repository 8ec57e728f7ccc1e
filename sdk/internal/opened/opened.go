// Package opened keeps what a plugin has opened for its host for as long as the host holds the
// stream by which it asked for it. It must not know what that is.
package opened

import (
	"context"
	"sync"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Slot holds what is open; at most one at a time.
type Slot[T any] struct {
	mu    sync.Mutex
	taken bool
	value *T // nil until it is open
}

// Hold opens, tells the host by answer, and returns when ctx, the stream's, is done. The value is
// then no longer to be had, and the context that open was given is cancelled.
func (s *Slot[T]) Hold(ctx context.Context, open func(context.Context) (T, error), answer func(T) error) error {
	s.mu.Lock()
	if s.taken {
		s.mu.Unlock()
		return status.Error(codes.FailedPrecondition, "the plugin is open already in this process")
	}
	s.taken = true
	s.mu.Unlock()
	ctx, cancel := context.WithCancel(ctx)
	defer func() {
		cancel()
		s.mu.Lock()
		s.taken, s.value = false, nil
		s.mu.Unlock()
	}()
	v, err := open(ctx)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.value = &v
	s.mu.Unlock()
	if err := answer(v); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

// Get returns what is open.
func (s *Slot[T]) Get() (T, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.value == nil {
		var none T
		return none, status.Error(codes.FailedPrecondition, "the plugin has not been opened: call Open first")
	}
	return *s.value, nil
}
