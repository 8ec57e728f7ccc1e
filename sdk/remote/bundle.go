package remote

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/pintle-dev/pintle/crd"
	"github.com/pintle-dev/pintle/sdk/internal/calls"
	pluginv1 "github.com/pintle-dev/pintle/sdk/proto/plugin/v1"
	"github.com/pintle-dev/pintle/sdk/protocol"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// Bundle is the resource types of a plugin process. It outlives the process: between
// Detach and the next Attach its hooks refuse writes with 503, which clients retry.
type Bundle struct {
	name     string
	timeout  time.Duration
	stream   atomic.Pointer[hookCalls]
	changes  atomic.Bool // the process sends what it has changed in place of the whole
	unusable atomic.Pointer[func(error)]
	// retiring are the connections to processes that another has taken over from.
	retiring retirees

	mu    sync.RWMutex
	wire  *pluginv1.DefinitionsResponse
	defs  []*crd.Definition
	hooks map[schema.GroupResource]any
}

var _ resource.Bundle = (*Bundle)(nil)

// NewBundle makes the bundle of the named plugin. timeout bounds each hook call.
func NewBundle(name string, timeout time.Duration) *Bundle {
	return &Bundle{name: name, timeout: timeout}
}

// OnUnusable has f called for each answer of the process that can't be used, with the reason. The
// caller of the hook gets an error in any case.
func (b *Bundle) OnUnusable(f func(error)) { b.unusable.Store(&f) }

// Attach connects the bundle to a process that offers extension point "resource". It
// reports whether the definitions differ from those known before. The returned channel is
// closed when the process can no longer be reached. Where another process was attached, calls
// under way end there, and new ones are made to this one.
func (b *Bundle) Attach(ctx context.Context, c *Client) (changed bool, gone <-chan struct{}, err error) {
	if !c.offers(protocol.PointResource) {
		return false, nil, fmt.Errorf("plugin %s offers no resource types", b.name)
	}
	client := pluginv1.NewResourceClient(c.calling(protocol.PointResource))
	wire, err := client.Definitions(ctx, &pluginv1.DefinitionsRequest{})
	if err != nil {
		return false, nil, unwire(err)
	}
	defs, err := definitionsFromWire(b.name, wire)
	if err != nil {
		return false, nil, err
	}
	stream, err := openHooks(context.WithoutCancel(ctx), client)
	if err != nil {
		return false, nil, unwire(err)
	}
	b.mu.Lock()
	changed = b.wire == nil || !proto.Equal(b.wire, wire)
	if changed {
		b.take(wire, defs)
	}
	b.mu.Unlock()
	b.changes.Store(slices.Contains(c.powers[protocol.PointResource], protocol.CapabilityChanges))
	if old := b.stream.Swap(stream); old != nil {
		b.retire(old)
	}
	return changed, stream.Done(), nil
}

// Detach ends the connection. Calls that are under way fail with 503.
func (b *Bundle) Detach() {
	if s := b.stream.Swap(nil); s != nil {
		s.Close()
	}
}

// Definitions implements resource.Bundle: those of the last process that was attached.
func (b *Bundle) Definitions() ([]*crd.Definition, error) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	if b.wire == nil {
		return nil, b.unavailable("has not started yet")
	}
	return b.defs, nil
}

// Hooks implements resource.Bundle.
func (b *Bundle) Hooks(gr schema.GroupResource) any {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.hooks[gr]
}

// unavailable is what clients are told while the plugin is away: 503, to be retried.
func (b *Bundle) unavailable(why string) error {
	err := apierrors.NewServiceUnavailable(fmt.Sprintf("plugin %q %s; try again", b.name, why))
	err.ErrStatus.Details = &metav1.StatusDetails{
		Group: "core.pintle.dev", Kind: "plugins", Name: b.name, RetryAfterSeconds: 1,
	}
	return err
}

// call makes one hook call.
func (b *Bundle) call(ctx context.Context, d *crd.Definition, hook pluginv1.Hook, r *resource.Request, tweak func(*pluginv1.HookCall)) (*pluginv1.HookResult, error) {
	if b.stream.Load() == nil {
		return nil, b.unavailable("is not running")
	}
	// What the process that answers can do may be found to be less, where another has just taken
	// over: then it finds the order of keys changed, and sends the whole object back.
	changes := b.changes.Load()
	wire, err := requestToWire(r, !changes && hook != pluginv1.Hook_HOOK_VALIDATE && hook != pluginv1.Hook_HOOK_CELLS)
	if err != nil {
		return nil, fmt.Errorf("plugin %s: %w", b.name, err)
	}
	c := &pluginv1.HookCall{
		Hook: hook, TimeoutMs: b.timeout.Milliseconds(),
		Group: d.Group, Plural: d.Names.Plural, Request: wire, AcceptsChanges: changes,
	}
	if tweak != nil {
		tweak(c)
	}
	res, err := b.send(ctx, r.Reader, c)
	switch {
	case errors.Is(err, calls.ErrGone):
		return nil, b.unavailable("stopped while it was handling the request")
	case errors.Is(err, context.DeadlineExceeded):
		return nil, b.unavailable(fmt.Sprintf("did not answer within %s", b.timeout))
	case err != nil:
		return nil, err
	}
	if err := errorFromWire(b.name, res); err != nil {
		return nil, err
	}
	r.Warnings = append(r.Warnings, res.GetWarnings()...)
	tree, err := changedObject(r.Object, res)
	if err != nil {
		if tell := b.unusable.Load(); tell != nil {
			(*tell)(err)
		}
		return nil, fmt.Errorf("plugin %s: %w", b.name, err)
	}
	if tree != nil {
		r.Object = replace(r.Object, tree)
	}
	return res, nil
}

// send makes a call to the process that is attached now.
func (b *Bundle) send(ctx context.Context, reader resource.Reader, c *pluginv1.HookCall) (*pluginv1.HookResult, error) {
	for {
		s := b.stream.Load()
		if s == nil {
			return nil, calls.ErrGone
		}
		res, err := s.Call(ctx, b.timeout, reader, func(id uint64) hookItem {
			c.Id = id
			return hookItem{Work: c}
		})
		if !errors.Is(err, calls.ErrFinishing) {
			return res, err
		}
	}
}

// changedObject returns what a plugin has made of an object, nil where it has changed nothing.
func changedObject(object map[string]any, res interface {
	GetObject() []byte
	GetChanges() []*pluginv1.Change
}) (map[string]any, error) {
	if len(res.GetChanges()) > 0 {
		return protocol.ApplyChanges(object, res.GetChanges())
	}
	return protocol.DecodeTree(res.GetObject())
}

// Drain returns when all calls have ended that are under way with processes that another has
// taken over from, or with ctx.
func (b *Bundle) Drain(ctx context.Context) { b.retiring.wait(ctx) }

// replace gives into the content of tree, in place where there is an into.
func replace(into, tree map[string]any) map[string]any {
	if into == nil {
		return tree
	}
	clear(into)
	for k, v := range tree {
		into[k] = v
	}
	return into
}
