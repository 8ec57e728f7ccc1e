package apiserver

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pintle-dev/pintle/core/store"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// endTimeout bounds what a type's hooks do at the end of a write. It does not end with the
// request: what was begun is to be ended.
const endTimeout = 10 * time.Second

// commit writes the object, or deletes it, with the type's hooks taking part, or stages that
// in a transaction. Errors of the store are returned as they are.
func (c *change) commit(ctx context.Context, op resource.Operation, expect store.Expectation) (store.Object, error) {
	if c.q.op != nil {
		return c.q.op.stage(ctx, c, op, expect)
	}
	end, err := c.begin(ctx, op)
	if err != nil {
		return store.Object{}, err
	}
	w := store.Write{Key: c.k.key(c.Namespace, c.Name), Delete: true, Note: c.deletionNote()}
	if op != resource.Delete {
		w, err = c.encode()
	}
	var o store.Object
	if err == nil {
		w.Expect = expect
		o, err = c.q.server.write(ctx, w)
	}
	if end == nil {
		return o, err
	}
	failed := c.end(ctx, end, err)
	switch {
	case failed == nil || err != nil:
		return o, err
	case op == resource.Create:
		c.takeBack(ctx, o)
		return store.Object{}, hookError(failed)
	}
	c.q.server.cfg.Logger.WarnContext(ctx, "what goes with a write was not done", "resource", c.k.gr.String(),
		"namespace", c.Namespace, "name", c.Name, "operation", string(op), "error", failed)
	return o, nil
}

func (c *change) begin(ctx context.Context, op resource.Operation) (func(context.Context, error) error, error) {
	if c.k.beginner == nil {
		return nil, nil
	}
	end, err := c.k.beginner.Begin(ctx, &c.Request, op)
	if err != nil {
		return nil, hookError(err)
	}
	return end, nil
}

func (c *change) end(ctx context.Context, end func(context.Context, error) error, err error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTimeout)
	defer cancel()
	if errors.Is(err, store.ErrUnknownOutcome) {
		err = fmt.Errorf("%w: %w", resource.ErrUncertain, err)
	}
	return end(ctx, err)
}

// takeBack deletes an object that should not have been created.
func (c *change) takeBack(ctx context.Context, o store.Object) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTimeout)
	defer cancel()
	_, err := c.q.server.write(ctx, store.Write{Key: o.Key, Delete: true, Expect: store.Expectation(o.Revision)})
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		c.q.server.cfg.Logger.WarnContext(ctx, "an object that should not exist could not be taken back", "object", string(o.Key), "error", err)
	}
}
