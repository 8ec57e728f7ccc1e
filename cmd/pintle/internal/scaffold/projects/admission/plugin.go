package main

import (
	"context"
	_ "embed"

	"github.com/pintle-dev/pintle/sdk/admission"
	"github.com/pintle-dev/pintle/sdk/plugin"
	"github.com/pintle-dev/pintle/sdk/resource"
)

var (
	//go:embed plugin.yaml
	manifest []byte
	// Written by `make generate` from Settings.
	//go:embed settings.schema.json
	settingsSchema []byte
)

// Plugin takes part in admission.
type Plugin struct {
	settings Settings
}

var (
	_ admission.Admission = (*Plugin)(nil)
	_ admission.Mutator   = (*Plugin)(nil)
	_ admission.Validator = (*Plugin)(nil)
)

// Settings are what an operator may set. Their defaults and limits are in the markers.
// +pintle:settings
type Settings struct {
	// Label that each Deployment must have.
	// +kubebuilder:default=team
	// +kubebuilder:validation:MinLength=1
	Label string `json:"label,omitempty"`
	// Default value of the label, for who does not say; empty to refuse them.
	Default string `json:"default,omitempty"`
}

// Info implements plugin.Plugin: what plugin.yaml says.
func (*Plugin) Info() plugin.Info { return plugin.MustInfoFrom(manifest) }

// ConfigSchema implements plugin.Plugin.
func (*Plugin) ConfigSchema() []byte { return settingsSchema }

// Configure implements plugin.Plugin. The settings fit the schema and have its defaults.
func (p *Plugin) Configure(_ context.Context, raw []byte) error {
	return plugin.DecodeSettings(raw, &p.settings)
}

// Declare implements admission.Admission: about which writes the plugin is asked, and what
// becomes of them while it can't be asked. Narrow rules make it cheap for everybody else.
func (*Plugin) Declare() admission.Declaration {
	return admission.Declaration{
		Rules: []admission.Rule{{
			APIGroups:  []string{"apps"},
			Resources:  []string{"deployments"},
			Operations: []resource.Operation{resource.Create, resource.Update},
		}},
		FailurePolicy: admission.Fail,
	}
}
