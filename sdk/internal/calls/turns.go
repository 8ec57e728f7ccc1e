package calls

import (
	"context"
	"sync/atomic"
)

// turns are how callers share the receiving of a line: who waits for an answer receives, until it has
// come, and hands what comes for others over to them. A call alone needs no other goroutine, and wakes no
// thread for one. Where nobody waits nobody receives, so whatever else may come is attended to (see
// attend).
//
// A stream of gRPC has goroutines of its own anyway; there, one goroutine receives for all.
type turns struct {
	line receiver
	// free has something in it while nobody receives; nil where there are no turns.
	free      chan struct{}
	attending atomic.Bool
}

// receiver is a line at which callers receive.
type receiver interface {
	// interrupt makes who receives now, or next, return with nothing.
	interrupt()
	// gone is over when the process at the other end has gone.
	gone() context.Context
}

func (c *Client[S, R, C]) takeTurns(line receiver) {
	c.turns.line, c.turns.free = line, make(chan struct{}, 1)
	c.turns.free <- struct{}{}
	// Nobody may be waiting when the end comes.
	toTheEnd := func() {
		select {
		case <-c.turns.free:
			c.receiveAll()
		case <-c.done:
		}
	}
	context.AfterFunc(c.stream.Context, toTheEnd)
	context.AfterFunc(line.gone(), toTheEnd)
}

// receiveFor is the turn of a caller. It returns when the caller has an answer, is late, or has been
// relieved, or when the stream has ended.
func (c *Client[S, R, C]) receiveFor(ctx context.Context, p *pending[R, C]) {
	if ctx.Done() != nil {
		defer context.AfterFunc(ctx, c.turns.line.interrupt)()
	}
	for len(p.result) == 0 && ctx.Err() == nil {
		then, ok := c.receive()
		if !ok {
			return
		}
		if then != nil {
			c.turns.attending.Store(true)
			go c.receiveRest(then)
			return
		}
	}
	c.turns.free <- struct{}{}
}

// attend sees to it that answers are received for which nobody waits any more: what is sent is not
// taken until then, and who serves must not seem to be silent.
func (c *Client[S, R, C]) attend() {
	if c.turns.free == nil {
		return
	}
	c.turns.line.interrupt()
	if c.Waiting() == 0 || !c.turns.attending.CompareAndSwap(false, true) {
		return
	}
	go func() {
		select {
		case <-c.turns.free:
			c.receiveRest(nil)
		case <-c.done:
		}
	}()
}

// receiveRest receives for as long as calls have no answer.
func (c *Client[S, R, C]) receiveRest(then func()) {
	for {
		if then != nil {
			then()
		}
		if c.Waiting() == 0 {
			break
		}
		var ok bool
		if then, ok = c.receive(); !ok {
			return
		}
	}
	c.turns.attending.Store(false)
	c.turns.free <- struct{}{}
	if c.left() {
		c.attend()
	}
}

// left reports whether there is a call for which nobody waits.
func (c *Client[S, R, C]) left() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.pending {
		if p.left {
			return true
		}
	}
	return false
}
