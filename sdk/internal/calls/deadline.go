package calls

import (
	"context"
	"sync"
	"time"
)

// callContext is the context of a call with a deadline. Few who handle calls wait for its end,
// and a timer may wake a thread when it is set: there is none until somebody does wait.
type callContext struct {
	parent   context.Context //nolint:containedctx // it is one
	deadline time.Time

	mu     sync.Mutex
	waited context.Context //nolint:containedctx // what is waited for
	cancel context.CancelFunc
	over   bool
}

var _ context.Context = (*callContext)(nil)

func withTimeout(parent context.Context, d time.Duration) *callContext {
	return &callContext{parent: parent, deadline: time.Now().Add(d)}
}

// Deadline implements context.Context.
func (c *callContext) Deadline() (time.Time, bool) {
	if d, ok := c.parent.Deadline(); ok && d.Before(c.deadline) {
		return d, true
	}
	return c.deadline, true
}

// Done implements context.Context.
func (c *callContext) Done() <-chan struct{} { return c.wait().Done() }

// Err implements context.Context.
func (c *callContext) Err() error {
	c.mu.Lock()
	waited, over := c.waited, c.over
	c.mu.Unlock()
	switch {
	case waited != nil:
		return waited.Err()
	case c.parent.Err() != nil:
		return c.parent.Err()
	case !time.Now().Before(c.deadline):
		return context.DeadlineExceeded
	case over:
		return context.Canceled
	}
	return nil
}

// Value implements context.Context. What derives contexts asks for Done before.
func (c *callContext) Value(key any) any {
	c.mu.Lock()
	from := c.waited
	c.mu.Unlock()
	if from == nil {
		from = c.parent
	}
	return from.Value(key)
}

func (c *callContext) wait() context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.waited == nil {
		c.waited, c.cancel = context.WithDeadline(c.parent, c.deadline)
		if c.over {
			c.cancel()
		}
	}
	return c.waited
}

// end ends it, as the call has.
func (c *callContext) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.over = true
	if c.cancel != nil {
		c.cancel()
	}
}
