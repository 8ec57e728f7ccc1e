package apiserver

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tidwall/gjson"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"github.com/pintle-dev/pintle/core/store"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// run stages all operations and writes them, again where objects have changed meanwhile under
// operations that do not name a revision.
func (t *transaction) run(ctx context.Context) error {
	pending := t.ops
	for try := 1; ; try++ {
		for _, o := range pending {
			o.err = o.try(ctx)
			t.doomed = t.doomed || o.err != nil
		}
		if err := t.refusal(); err != nil {
			return err
		}
		if t.dryRun {
			return nil
		}
		refused, err := t.write(ctx)
		if err == nil {
			return nil
		}
		if len(refused) == 0 {
			return err
		}
		pending = nil
		for _, w := range refused {
			o := w.op
			switch {
			case !w.retriable(w.errOf(err, t)):
				o.err = w.change.createError(store.ErrExists)
			case try == maxConflicts:
				o.err = apierrors.NewConflict(o.q.kind.gr, o.q.route.name, errModified)
			case ctx.Err() != nil:
				return ctx.Err()
			case !slices.Contains(pending, o):
				pending = append(pending, o)
			}
		}
		if err := t.refusal(); err != nil {
			return err
		}
		for _, o := range pending {
			o.reset(ctx, err)
		}
	}
}

// writes are all that are staged, in the order of the operations.
func (t *transaction) writes() []*staged {
	var out []*staged
	for _, o := range t.ops {
		out = append(out, o.writes...)
	}
	return out
}

// write writes what is staged. It returns the writes whose guards did not hold.
func (t *transaction) write(ctx context.Context) (refused []*staged, err error) {
	s := t.outer.server
	all := t.writes()
	writes := make([]store.Write, len(all))
	for i, w := range all {
		writes[i] = w.write
	}
	stepCtx, end := s.step(ctx, "write to the store")
	objects, err := s.cfg.Store.Transact(stepCtx, writes)
	end()
	var r *store.Refused
	switch {
	case errors.As(err, &r):
		for i, w := range all {
			if !errors.Is(r.Errors[i], store.ErrWithheld) {
				refused = append(refused, w)
			}
		}
		return refused, err
	case err != nil:
		t.abandon(ctx, err)
		return nil, fmt.Errorf("transaction of %d operations: %w", len(t.ops), err)
	}
	for i, w := range all {
		if !w.write.Check {
			w.result = objects[i]
		}
	}
	t.finish(ctx, all)
	return nil, nil
}

// finish tells what takes part in the writes that they were done. What fails now is only said:
// taking one write back would leave a part of the transaction.
func (t *transaction) finish(ctx context.Context, all []*staged) {
	for _, w := range all {
		if w.end == nil {
			continue
		}
		end := w.end
		w.end = nil
		if err := w.change.end(ctx, end, nil); err != nil {
			t.outer.server.cfg.Logger.WarnContext(ctx, "what goes with a write was not done", "resource", w.change.k.gr.String(),
				"namespace", w.change.Namespace, "name", w.change.Name, "operation", string(w.what), "error", err)
			w.op.q.warn(fmt.Sprintf("what goes with %s was not done: %v", w.op.describe(), err))
		}
	}
}

// errOf is the error that a refused transaction has for a write.
func (w *staged) errOf(err error, t *transaction) error {
	var r *store.Refused
	if errors.As(err, &r) {
		if i := slices.Index(t.writes(), w); i >= 0 && i < len(r.Errors) {
			return r.Errors[i]
		}
	}
	return err
}

// reset forgets what the operation has staged.
func (o *operation) reset(ctx context.Context, err error) {
	o.tx.mu.Lock()
	writes := o.writes
	for _, w := range writes {
		delete(o.tx.views, w.write.Key)
	}
	o.main, o.writes = nil, nil
	o.tx.mu.Unlock()
	for _, w := range writes {
		if w.end == nil {
			continue
		}
		if failed := w.change.end(ctx, w.end, err); failed != nil {
			o.tx.outer.server.cfg.Logger.WarnContext(ctx, "what goes with a write was not undone", "resource", w.change.k.gr.String(),
				"namespace", w.change.Namespace, "name", w.change.Name, "error", failed)
		}
		w.end = nil
	}
}

// stage takes a write that is ready, in place of the store. The object that it returns has no
// revision of its own yet.
func (o *operation) stage(ctx context.Context, c *change, what resource.Operation, expect store.Expectation) (store.Object, error) {
	key := c.k.key(c.Namespace, c.Name)
	if err := o.free(key); err != nil {
		return store.Object{}, err
	}
	w := &staged{op: o, change: c, what: what, write: store.Write{Key: key, Delete: true, Note: c.deletionNote()}}
	if c.DryRun {
		if _, err := o.tx.outer.server.cfg.Store.Get(ctx, key); err == nil && expect == store.MustNotExist {
			return store.Object{}, store.ErrExists
		}
	} else {
		var err error
		c.Together = true
		if w.end, err = c.begin(ctx, what); err != nil {
			return store.Object{}, err
		}
	}
	w.result = store.Object{Key: key, Data: c.live.Data}
	if what != resource.Delete {
		var err error
		if w.write, err = c.encode(); err != nil {
			if w.end != nil {
				err = errors.Join(err, c.end(ctx, w.end, err))
			}
			return store.Object{}, err
		}
		w.result.Data = c.unstored(w.write)
		w.view = store.Object{Key: key, Data: w.result.Data}
	}
	w.write.Expect = expect
	o.add(w)
	return w.result, nil
}

// keep takes a write that changes nothing: that the object stays as it is until the
// transaction is done is checked.
func (o *operation) keep(c *change) error {
	key := c.k.key(c.Namespace, c.Name)
	if err := o.free(key); err != nil {
		return err
	}
	o.add(&staged{op: o, change: c, what: resource.Update, view: store.Object{Key: key, Data: c.live.Data}, result: c.live,
		write: store.Write{Key: key, Check: true, Expect: store.Expectation(c.live.Revision)}})
	return nil
}

func (o *operation) add(w *staged) {
	o.tx.mu.Lock()
	defer o.tx.mu.Unlock()
	o.tx.views[w.write.Key] = w
	o.writes = append(o.writes, w)
	if !w.change.internal {
		o.main = w
	}
}

// free refuses a second write of an object.
func (o *operation) free(key store.Key) error {
	o.tx.mu.Lock()
	defer o.tx.mu.Unlock()
	if w, ok := o.tx.views[key]; ok {
		return apierrors.NewBadRequest(fmt.Sprintf("operations[%d] writes the same object", w.op.index))
	}
	return nil
}

// get reads an object, as the transaction that ctx belongs to would leave it.
func (s *Server) get(ctx context.Context, key store.Key) (store.Object, error) {
	if o := s.operationOf(ctx); o != nil {
		if v, ok := o.tx.view(key); ok {
			if v.Data == nil {
				return v, store.ErrNotFound
			}
			return v, nil
		}
	}
	return s.cfg.Store.Get(ctx, key) //nolint:wrapcheck // callers know what they read
}

func (t *transaction) view(key store.Key) (store.Object, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	w, ok := t.views[key]
	if !ok {
		return store.Object{}, false
	}
	return w.view, true
}

// list reads all objects under a prefix, as get does.
func (s *Server) list(ctx context.Context, prefix store.Key) ([]store.Object, error) {
	var objects []store.Object
	if s.cfg.Store.Count(prefix) > 0 {
		snap, err := s.cfg.Store.List(ctx, prefix, store.ListOptions{})
		if err != nil {
			return nil, err //nolint:wrapcheck // callers know what they read
		}
		objects = snap.Objects
	}
	if o := s.operationOf(ctx); o != nil {
		objects = o.tx.overlay(prefix, objects)
	}
	return objects, nil
}

// overlay is a list with what is staged.
func (t *transaction) overlay(prefix store.Key, objects []store.Object) []store.Object {
	t.mu.Lock()
	defer t.mu.Unlock()
	var changed []store.Object
	for key, w := range t.views {
		if strings.HasPrefix(string(key), string(prefix)) && !w.write.Check {
			changed = append(changed, store.Object{Key: key, Data: w.view.Data})
		}
	}
	if len(changed) == 0 {
		return objects
	}
	out := slices.DeleteFunc(slices.Clone(objects), func(o store.Object) bool { _, ok := t.views[o.Key]; return ok && !t.views[o.Key].write.Check })
	for _, o := range changed {
		if o.Data != nil {
			out = append(out, o)
		}
	}
	slices.SortFunc(out, func(a, b store.Object) int { return strings.Compare(string(a.Key), string(b.Key)) })
	return out
}

// uidOfBytes reads the uid of stored bytes.
func uidOfBytes(data []byte) types.UID { return types.UID(gjson.GetBytes(data, "metadata.uid").Str) }
