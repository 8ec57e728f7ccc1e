package main

import (
	"context"
	"embed"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	v1 "github.com/pintle-dev/pintle/cmd/pintle/internal/scaffold/projects/resource/api/v1"
	"github.com/pintle-dev/pintle/sdk/controller"
	"github.com/pintle-dev/pintle/sdk/plugin"
	"github.com/pintle-dev/pintle/sdk/resource"
)

var (
	//go:embed plugin.yaml
	manifest []byte
	// Written by `make generate` from Settings.
	//go:embed settings.schema.json
	settingsSchema []byte
	// Written by `make generate` from api/v1.
	//go:embed crds/*.yaml
	crds embed.FS
)

// Plugin offers a resource type and its controller.
type Plugin struct {
	settings Settings
}

var (
	_ resource.Bundle       = (*Plugin)(nil)
	_ controller.Controller = (*Plugin)(nil)
)

// Settings are what an operator may set. Their defaults and limits are in the markers.
// +pintle:settings
type Settings struct {
	// Greeting is the first word of what a Gizmo says.
	// +kubebuilder:default=Hello
	// +kubebuilder:validation:MinLength=1
	Greeting string `json:"greeting,omitempty"`
}

// Info implements plugin.Plugin: what plugin.yaml says.
func (*Plugin) Info() plugin.Info { return plugin.MustInfoFrom(manifest) }

// ConfigSchema implements plugin.Plugin.
func (*Plugin) ConfigSchema() []byte { return settingsSchema }

// Configure implements plugin.Plugin. The settings fit the schema and have its defaults.
func (p *Plugin) Configure(_ context.Context, raw []byte) error {
	return plugin.DecodeSettings(raw, &p.settings)
}

// Definitions implements resource.Bundle.
func (*Plugin) Definitions() ([]*resource.Definition, error) {
	return resource.FromCRDFiles(crds, "crds/*.yaml")
}

// Hooks implements resource.Bundle.
func (*Plugin) Hooks(gr schema.GroupResource) any {
	if gr == v1.Gizmos.GroupResource() {
		return hooks{}
	}
	return nil
}

// Run implements controller.Controller. It runs on the leader only, until ctx is cancelled.
func (p *Plugin) Run(ctx context.Context, env plugin.Env) error {
	client, err := dynamic.NewForConfig(env.Config)
	if err != nil {
		return err
	}
	r := &reconciler{client: client, greeting: p.settings.Greeting}
	return controller.Loop{
		Resource:  v1.Gizmos,
		Owns:      []schema.GroupVersionResource{configMaps},
		Reconcile: r.reconcile,
	}.Run(ctx, env)
}
