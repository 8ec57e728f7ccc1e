package remote

import (
	"context"
	"fmt"

	"google.golang.org/protobuf/proto"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/pintle-dev/pintle/crd"
	pluginv1 "github.com/pintle-dev/pintle/sdk/proto/plugin/v1"
	"github.com/pintle-dev/pintle/sdk/protocol"
)

// Definitions asks the named plugin for its resource types, without connecting a Bundle.
func Definitions(ctx context.Context, c *Client, name string) ([]*crd.Definition, error) {
	if !c.offers(protocol.PointResource) {
		return nil, fmt.Errorf("plugin %s offers no resource types", name)
	}
	wire, err := pluginv1.NewResourceClient(c.conn).Definitions(ctx, &pluginv1.DefinitionsRequest{})
	if err != nil {
		return nil, unwire(err)
	}
	return definitionsFromWire(name, wire)
}

// Snapshot returns the bundle's definitions in a form that Restore takes; nil where no
// process has been attached.
func (b *Bundle) Snapshot() ([]byte, error) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	if b.wire == nil {
		return nil, nil
	}
	out, err := proto.Marshal(b.wire)
	if err != nil {
		return nil, fmt.Errorf("plugin %s: definitions: %w", b.name, err)
	}
	return out, nil
}

// Restore gives the bundle the definitions of an earlier life, before a process is
// attached: until then its hooks answer 503.
func (b *Bundle) Restore(snapshot []byte) error {
	wire := &pluginv1.DefinitionsResponse{}
	if err := proto.Unmarshal(snapshot, wire); err != nil {
		return fmt.Errorf("plugin %s: remembered definitions: %w", b.name, err)
	}
	defs, err := definitionsFromWire(b.name, wire)
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.take(wire, defs)
	return nil
}

// take makes definitions the bundle's. It is called with the lock held.
func (b *Bundle) take(wire *pluginv1.DefinitionsResponse, defs []*crd.Definition) {
	b.wire, b.defs = wire, defs
	b.hooks = map[schema.GroupResource]any{}
	for i, d := range defs {
		if h := newHooks(b, d, wire.GetDefinitions()[i].GetHooks()); h != nil {
			b.hooks[d.GroupResource()] = h
		}
	}
}
