package main

import (
	"context"
	_ "embed"

	"github.com/pintle-dev/pintle/sdk/authorization"
	"github.com/pintle-dev/pintle/sdk/plugin"
)

var (
	//go:embed plugin.yaml
	manifest []byte
	// Written by `make generate` from Settings.
	//go:embed settings.schema.json
	settingsSchema []byte
)

// Plugin decides who may do what.
type Plugin struct {
	settings Settings
}

var _ authorization.Authorizer = (*Plugin)(nil)

// Settings are what an operator may set. Their defaults and limits are in the markers.
// +pintle:settings
type Settings struct {
	// Protected are the namespaces in which nothing is deleted, nor they themselves.
	Protected []string `json:"protected,omitempty"`
	// Group whose members may all the same.
	// +kubebuilder:default="gizmo-name:keepers"
	// +kubebuilder:validation:MinLength=1
	Group string `json:"group,omitempty"`
}

// Info implements plugin.Plugin: what plugin.yaml says.
func (*Plugin) Info() plugin.Info { return plugin.MustInfoFrom(manifest) }

// ConfigSchema implements plugin.Plugin.
func (*Plugin) ConfigSchema() []byte { return settingsSchema }

// Configure implements plugin.Plugin. The settings fit the schema and have its defaults.
func (p *Plugin) Configure(_ context.Context, raw []byte) error {
	return plugin.DecodeSettings(raw, &p.settings)
}
