package host

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/pintle-dev/pintle/crd"
	"github.com/pintle-dev/pintle/sdk/manifest"
	"github.com/pintle-dev/pintle/sdk/protocol"
	"github.com/pintle-dev/pintle/sdk/remote"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// fits checks a manifest against the entry before anything of the plugin is run.
func (i *instance) fits(m *manifest.Manifest) error {
	if m == nil {
		return nil
	}
	if m.Name != i.spec.Name {
		return refuse("source: %s holds plugin %q, the entry is for %q: change the entry's name or its source", i.spec.Source, m.Name, i.spec.Name)
	}
	if v := i.spec.Source.Version; !fits(v, m.Version) {
		return refuse("version: %s has version %s, the entry wants %s", i.spec.Source, m.Version, v)
	}
	return nil
}

// heldTo checks that the running plugin is what its manifest said.
func (i *instance) heldTo(m *manifest.Manifest) error {
	if m == nil {
		return nil
	}
	if i.info.Version != m.Version {
		return refuse("the plugin calls itself version %q, its manifest %q", i.info.Version, m.Version)
	}
	for _, p := range i.guest.points {
		if !slices.Contains(m.Points, string(p)) {
			return refuse("it offers extension point %q, which its manifest does not name: add it to points", p)
		}
	}
	if over := beyond(i.info.Permissions, m.Permissions); len(over) > 0 {
		return refuse("it asks for more permissions than its manifest: %s", RulesText(over))
	}
	return nil
}

// checkTypes looks at the types that the plugin brings: its manifest must name them, and
// nobody else may have them.
func (i *instance) checkTypes(ctx context.Context) error {
	if err := i.checkPlace(); err != nil {
		return err
	}
	if !i.guest.offers(protocol.PointResource) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, i.host.config.CallTimeout)
	defer cancel()
	defs, err := i.guest.definitions(ctx, i.spec.Name)
	if err != nil {
		return fmt.Errorf("resource types: %w", err)
	}
	for _, d := range defs {
		gr := d.GroupResource()
		if m := i.artifact.Manifest; m != nil && !slices.Contains(m.Types, gr.String()) {
			return refuse("it defines %s, which its manifest does not name: add it to types", gr)
		}
		if owner := i.host.config.TypeOwner; owner != nil {
			if source, ok := owner(gr); ok && source != sourceOf(i.spec.Name) {
				return refuse("it defines %s, which belongs to %s", gr, ownerText(source))
			}
		}
	}
	i.types = defs
	return nil
}

// definitions asks the plugin for its types, without connecting anybody with them.
func (g *guest) definitions(ctx context.Context, name string) ([]*crd.Definition, error) {
	if g.client == nil {
		b, ok := g.base.(resource.Bundle)
		if !ok {
			return nil, fmt.Errorf("it offers point %q and is no bundle of resource types", protocol.PointResource)
		}
		return b.Definitions()
	}
	return remote.Definitions(ctx, g.client, name)
}

// checkUpgrade checks that objects of the types that old brings can be served by this
// instance.
func (i *instance) checkUpgrade(ctx context.Context, old *instance) error {
	for _, before := range old.types {
		gr := before.GroupResource()
		at := slices.IndexFunc(i.types, func(d *crd.Definition) bool { return d.GroupResource() == gr })
		if at < 0 {
			n, err := i.host.count(ctx, gr)
			if err != nil {
				return fmt.Errorf("objects of %s: %w", gr, err)
			}
			if n > 0 {
				return refuse("version %s no longer has type %s, of which there are %d objects", i.info.Version, gr, n)
			}
			continue
		}
		after := i.types[at]
		if after.Scope != before.Scope {
			return refuse("version %s makes %s %s, and it is %s: objects would be lost", i.info.Version, gr, after.Scope, before.Scope)
		}
		if v := before.StorageVersion(); v != nil && !slices.ContainsFunc(after.Versions, func(w crd.Version) bool { return w.Name == v.Name }) {
			return refuse("version %s no longer reads %s of version %s, in which objects are stored", i.info.Version, gr, v.Name)
		}
	}
	return nil
}

// count is the number of objects of a type, 0 where nobody can say.
func (h *Host) count(ctx context.Context, gr schema.GroupResource) (int, error) {
	if h.config.CountObjects == nil {
		return 0, nil
	}
	return h.config.CountObjects(ctx, gr)
}

// sourceOf is the Source of the definitions of a plugin.
func sourceOf(plugin string) string { return "plugin:" + plugin }

func ownerText(source string) string {
	kind, name, _ := strings.Cut(source, ":")
	switch {
	case kind == "plugin":
		return fmt.Sprintf("plugin %q", name)
	case kind == "crd":
		return fmt.Sprintf("CustomResourceDefinition %q", name)
	default:
		return "the control plane itself"
	}
}

// groupResources are the names of types.
func groupResources(defs []*crd.Definition) []schema.GroupResource {
	out := make([]schema.GroupResource, 0, len(defs))
	for _, d := range defs {
		out = append(out, d.GroupResource())
	}
	return out
}
