package remote

import (
	"context"

	pluginv1 "github.com/pintle-dev/pintle/sdk/proto/plugin/v1"
)

// maxReads of one plugin are answered at a time; the others wait, and with them the rest of what
// it sends.
const maxReads = 32

// readBounds bound what plugins read through their calls: hooks and reviews may read objects on
// behalf of a request, and could read what their plugin was never granted.
type readBounds struct {
	allow func(list bool, group, resource, namespace, name string) error
	slots chan struct{}
}

// WithReads returns a context for attaching to a plugin: reads of its calls are made only
// where allow returns nil, which is called for each of them. namespace and name may be empty.
func WithReads(ctx context.Context, allow func(list bool, group, resource, namespace, name string) error) context.Context {
	return context.WithValue(ctx, readsKey{}, &readBounds{allow: allow, slots: make(chan struct{}, maxReads)})
}

type readsKey struct{}

func readsOf(ctx context.Context) *readBounds {
	r, _ := ctx.Value(readsKey{}).(*readBounds)
	return r
}

// begin waits for a read's turn; end must be called after it.
func (r *readBounds) begin(ctx context.Context) (end func()) {
	if r == nil {
		return func() {}
	}
	select {
	case r.slots <- struct{}{}:
		return func() { <-r.slots }
	case <-ctx.Done():
		return func() {}
	}
}

func (r *readBounds) check(m *pluginv1.Read) error {
	if r == nil {
		return nil
	}
	return r.allow(m.GetList(), m.GetGroup(), m.GetResource(), m.GetNamespace(), m.GetName())
}
