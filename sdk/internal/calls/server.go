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

// Service is a stream as [Serve] uses it. C is a call, S what is sent.
type Service[C Timed, S any] struct {
	// Recv returns the calls in the next message, none where it had none. It is called by one
	// goroutine at a time.
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

// Serve answers the calls of a stream until it ends. ctx is the stream's. begin is given the way by
// which things are sent beside the results, before the first call comes.
//
// On a line, a call is handled by the goroutine that has received it where nothing more has come
// already, and as long as that does not take long. On a stream of gRPC each call has a goroutine of
// its own.
func Serve[C Timed, S any](ctx context.Context, s Service[C, S], begin func(Outbox[S])) error {
	v := &serving[C, S]{Service: s, more: moreOf(ctx), slots: make(chan struct{}, maxRunning), ended: make(chan struct{})}
	v.ctx, v.cancel = context.WithCancel(ctx)
	v.out = &sender[S]{send: s.Send, size: s.Size, failed: v.cancel}
	v.shift = newShift(func() { v.running.Go(v.receive) })
	if begin != nil {
		begin(v)
	}
	v.receive()
	<-v.ended // others may have gone on receiving
	v.shift.stop()
	v.running.Wait()
	v.out.close()
	v.out.wait() // a stream must not be used once its method has returned
	return v.err
}

// serving is a stream that is being served.
type serving[C Timed, S any] struct {
	Service[C, S]
	ctx    context.Context //nolint:containedctx // the stream's
	cancel context.CancelFunc
	out    *sender[S]
	slots  chan struct{}
	shift  *shift
	// more tells whether more has come than what was received; nil where that can't be told.
	more    func() bool
	running sync.WaitGroup
	ended   chan struct{}
	err     error // why it has ended; nil where the caller wanted it to
}

// Put implements Outbox. Who asks for something must not be who has to receive it.
func (v *serving[C, S]) Put(item S) {
	v.shift.leave()
	v.out.put(item, true)
}

// receive receives calls until the stream ends, or another goroutine has taken that over.
func (v *serving[C, S]) receive() {
	for {
		calls, err := v.Recv()
		if err != nil {
			if !errors.Is(err, io.EOF) {
				v.err = err
			}
			v.cancel()
			close(v.ended)
			return
		}
		mine := len(calls)
		if mine > 0 && v.more != nil && !v.more() && !v.shift.apart() {
			mine--
		}
		for _, c := range calls[:mine] {
			v.running.Go(func() { v.handle(c) })
		}
		if mine < len(calls) && !v.handleHere(calls[mine]) {
			return
		}
	}
}

// handle waits for a slot. It is not waited for where calls are received: calls that hold slots
// may wait for reads that come in there.
func (v *serving[C, S]) handle(c C) {
	select {
	case v.slots <- struct{}{}:
		v.answer(c)
	case <-v.ctx.Done():
	}
}

// handleHere handles a call in the goroutine that receives, and reports whether it still does.
func (v *serving[C, S]) handleHere(c C) bool {
	select {
	case v.slots <- struct{}{}:
	default:
		v.running.Go(func() { v.handle(c) })
		return true
	}
	number := v.shift.begin()
	v.answer(c)
	return v.shift.end(number)
}

// answer handles a call that has a slot.
func (v *serving[C, S]) answer(c C) {
	within := v.ctx
	if ms := c.GetTimeoutMs(); ms > 0 {
		bounded := withTimeout(v.ctx, time.Duration(ms)*time.Millisecond)
		defer bounded.end()
		within = bounded
	}
	r := v.Handle(within, c)
	<-v.slots
	v.out.put(r, true)
}
