package calls

import (
	"context"
	"errors"
)

// ErrFinishing says that a client takes no more calls, and that this one was not made: there
// is, or will be, another client to make it with.
var ErrFinishing = errors.New("the stream takes no more calls")

// Finish makes calls that are not under way yet fail with [ErrFinishing], waits for the others
// to be answered, but no longer than ctx, and ends the stream.
func (c *Client[S, R, C]) Finish(ctx context.Context) {
	c.mu.Lock()
	if c.finishing == nil {
		c.finishing = make(chan struct{})
		c.finished()
	}
	idle := c.finishing
	c.mu.Unlock()
	c.attend()
	select {
	case <-idle:
	case <-c.done:
	case <-ctx.Done():
	}
	c.Close()
}

// finished notes that nothing is pending, where that is so. It is called with the lock held.
func (c *Client[S, R, C]) finished() {
	if c.finishing == nil || len(c.pending) > 0 {
		return
	}
	select {
	case <-c.finishing:
	default:
		close(c.finishing)
	}
}
