package main

import (
	"context"
	_ "embed"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes"

	"github.com/pintle-dev/pintle/sdk/controller"
	"github.com/pintle-dev/pintle/sdk/plugin"
)

var (
	//go:embed plugin.yaml
	manifest []byte
	// Written by `make generate` from Settings.
	//go:embed settings.schema.json
	settingsSchema []byte
)

// Plugin offers a controller.
type Plugin struct {
	settings Settings
}

var _ controller.Controller = (*Plugin)(nil)

// Settings are what an operator may set. Their defaults and limits are in the markers.
// +pintle:settings
type Settings struct {
	// Motto that is put into each namespace.
	// +kubebuilder:default="Steady as she goes"
	// +kubebuilder:validation:MinLength=1
	Motto string `json:"motto,omitempty"`
}

// Info implements plugin.Plugin: what plugin.yaml says.
func (*Plugin) Info() plugin.Info { return plugin.MustInfoFrom(manifest) }

// ConfigSchema implements plugin.Plugin.
func (*Plugin) ConfigSchema() []byte { return settingsSchema }

// Configure implements plugin.Plugin. The settings fit the schema and have its defaults.
func (p *Plugin) Configure(_ context.Context, raw []byte) error {
	return plugin.DecodeSettings(raw, &p.settings)
}

// Run implements controller.Controller. It runs on the leader only, until ctx is cancelled.
func (p *Plugin) Run(ctx context.Context, env plugin.Env) error {
	client, err := kubernetes.NewForConfig(env.Config)
	if err != nil {
		return err
	}
	r := &reconciler{client: client, motto: p.settings.Motto}
	return controller.Loop{
		Resource:  schema.GroupVersionResource{Version: "v1", Resource: "namespaces"},
		Selector:  enabledLabel + "=true",
		Owns:      []schema.GroupVersionResource{{Version: "v1", Resource: "configmaps"}},
		Reconcile: r.reconcile,
	}.Run(ctx, env)
}
