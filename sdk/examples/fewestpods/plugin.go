package main

import (
	"context"
	_ "embed"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes"

	"github.com/pintle-dev/pintle/sdk/controller"
	"github.com/pintle-dev/pintle/sdk/plugin"
	"github.com/pintle-dev/pintle/sdk/scheduler"
)

var (
	//go:embed plugin.yaml
	manifest []byte
	// Written by `make generate` from Settings.
	//go:embed settings.schema.json
	settingsSchema []byte
)

// Plugin is a scheduler for the pods that ask for it by spec.schedulerName.
type Plugin struct {
	settings Settings
}

var _ scheduler.Scheduler = (*Plugin)(nil)

// Settings are what an operator may set. Their defaults and limits are in the markers.
// +pintle:settings
type Settings struct {
	// Names that pods may ask for it by.
	// +kubebuilder:default={"fewestpods"}
	// +kubebuilder:validation:MinItems=1
	// +listType=set
	Names []string `json:"names,omitempty"`
}

// Info implements plugin.Plugin: what plugin.yaml says.
func (*Plugin) Info() plugin.Info { return plugin.MustInfoFrom(manifest) }

// ConfigSchema implements plugin.Plugin.
func (*Plugin) ConfigSchema() []byte { return settingsSchema }

// Configure implements plugin.Plugin. The settings fit the schema and have its defaults.
func (p *Plugin) Configure(_ context.Context, raw []byte) error {
	return plugin.DecodeSettings(raw, &p.settings)
}

// SchedulerNames implements scheduler.Scheduler.
func (p *Plugin) SchedulerNames() []string { return p.settings.Names }

// Schedule implements scheduler.Scheduler. It runs on the leader only, until ctx is cancelled.
func (p *Plugin) Schedule(ctx context.Context, env plugin.Env) error {
	client, err := kubernetes.NewForConfig(env.Config)
	if err != nil {
		return err
	}
	b := &binder{client: client, names: p.settings.Names}
	return controller.Loop{
		Resource:  schema.GroupVersionResource{Version: "v1", Resource: "pods"},
		Reconcile: b.schedule,
	}.Run(ctx, env)
}
