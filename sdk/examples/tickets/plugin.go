package main

import (
	"context"
	"embed"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/pintle-dev/pintle/sdk/plugin"
	"github.com/pintle-dev/pintle/sdk/resource"
)

const group = "events.example.dev"

var (
	//go:embed plugin.yaml
	manifest []byte
	//go:embed crds/*.yaml
	crds embed.FS
)

// tickets offers the type.
type tickets struct{}

var _ resource.Bundle = (*tickets)(nil)

// Info implements plugin.Plugin. It asks for no permissions: hooks are told all that they need.
func (*tickets) Info() plugin.Info { return plugin.MustInfoFrom(manifest) }

// ConfigSchema implements plugin.Plugin.
func (*tickets) ConfigSchema() []byte { return nil }

// Configure implements plugin.Plugin.
func (*tickets) Configure(context.Context, []byte) error { return nil }

// Definitions implements resource.Bundle. A CustomResourceDefinition can't name subresources of
// one's own, so they are added to what it says.
func (*tickets) Definitions() ([]*resource.Definition, error) {
	defs, err := resource.FromCRDFiles(crds, "crds/*.yaml")
	if err != nil {
		return nil, err
	}
	for _, d := range defs {
		for i := range d.Versions {
			d.Versions[i].Subresources = append(d.Versions[i].Subresources, resource.Subresource{
				Name: redeem, Group: group, Version: "v1", Kind: "Redemption", Verbs: []string{"create"},
			})
		}
	}
	return defs, nil
}

// Hooks implements resource.Bundle.
func (*tickets) Hooks(gr schema.GroupResource) any {
	if gr.Group == group && gr.Resource == "tickets" {
		return hooks{}
	}
	return nil
}
