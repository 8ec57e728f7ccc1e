package calls

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"
)

// maxRunning is how many calls of one stream are handled at a time.
const maxRunning = 64

// Timed is a call that says for how many milliseconds its result is waited for; 0 for no bound.
type Timed interface{ GetTimeoutMs() int64 }

// Service is a gRPC stream as [Serve] uses it. C is a call, S what is sent.
type Service[C Timed, S any] struct {
	// Recv returns the calls in the next message, none where it had none.
	Recv func() ([]C, error)
	// Send sends one message. It is called by one goroutine at a time, and must not keep the
	// slice.
	Send func([]S) error
	// Handle does what is asked. Calls are handled at the same time; the context ends when
	// nobody waits for the result any more.
	Handle func(context.Context, C) S
	// Size is about the number of bytes that an item takes in a message.
	Size func(S) int
}

// Outbox takes what is sent beside the results.
type Outbox[S any] interface{ Put(item S) }

// Put implements Outbox.
func (s *sender[T]) Put(item T) { s.put(item, true) }

// Serve answers the calls of a stream until it ends. begin is given the way by which things
// are sent beside the results, before the first call comes.
func Serve[C Timed, S any](ctx context.Context, s Service[C, S], begin func(Outbox[S])) error {
	ctx, cancel := context.WithCancel(ctx)
	out := &sender[S]{send: s.Send, size: s.Size, failed: cancel}
	if begin != nil {
		begin(out)
	}
	var running sync.WaitGroup
	slots := make(chan struct{}, maxRunning)
	handle := func(c C) {
		// Waiting for a slot here and not where calls are received: calls that hold slots
		// may wait for reads that come in there.
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return
		}
		within, cancel := ctx, func() {}
		if ms := c.GetTimeoutMs(); ms > 0 {
			within, cancel = context.WithTimeout(ctx, time.Duration(ms)*time.Millisecond)
		}
		r := s.Handle(within, c)
		cancel()
		<-slots
		out.put(r, true)
	}
	err := receive(s, &running, handle)
	cancel()
	running.Wait()
	out.close()
	out.wait() // gRPC's stream must not be used once the method has returned
	return err
}

func receive[C Timed, S any](s Service[C, S], running *sync.WaitGroup, handle func(C)) error {
	for {
		calls, err := s.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		for _, c := range calls {
			running.Go(func() { handle(c) })
		}
	}
}
