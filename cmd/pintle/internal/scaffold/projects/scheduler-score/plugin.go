package main

import (
	"context"
	_ "embed"

	"github.com/pintle-dev/pintle/sdk/plugin"
	"github.com/pintle-dev/pintle/sdk/scheduling"
)

var (
	//go:embed plugin.yaml
	manifest []byte
	// Written by `make generate` from Settings.
	//go:embed settings.schema.json
	settingsSchema []byte
)

// Plugin takes part in scheduling. Beside Score it may have methods for Filter, Reserve, Permit
// and Bind; see package scheduling.
type Plugin struct {
	settings Settings
}

var (
	_ scheduling.Extension = (*Plugin)(nil)
	_ scheduling.Score     = (*Plugin)(nil)
)

// Settings are what an operator may set. Their defaults and limits are in the markers.
// +pintle:settings
type Settings struct {
	// Label of nodes whose value is what an hour on them costs, a number.
	// +kubebuilder:default="gizmo-name.example.dev/price"
	// +kubebuilder:validation:MinLength=1
	Label string `json:"label,omitempty"`
}

// Info implements plugin.Plugin: what plugin.yaml says.
func (*Plugin) Info() plugin.Info { return plugin.MustInfoFrom(manifest) }

// ConfigSchema implements plugin.Plugin.
func (*Plugin) ConfigSchema() []byte { return settingsSchema }

// Configure implements plugin.Plugin. The settings fit the schema and have its defaults.
func (p *Plugin) Configure(_ context.Context, raw []byte) error {
	return plugin.DecodeSettings(raw, &p.settings)
}

// Concerns implements scheduling.Extension: it is asked about all pods.
func (*Plugin) Concerns() scheduling.Concerns { return scheduling.Concerns{} }
