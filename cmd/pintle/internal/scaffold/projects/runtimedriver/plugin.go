package main

import (
	"context"
	_ "embed"

	"github.com/pintle-dev/pintle/sdk/plugin"
	"github.com/pintle-dev/pintle/sdk/runtimedriver"
)

var (
	//go:embed plugin.yaml
	manifest []byte
	// Written by `make generate` from Settings.
	//go:embed settings.schema.json
	settingsSchema []byte
)

// Plugin is a container runtime.
type Plugin struct {
	settings Settings
}

var _ runtimedriver.RuntimeDriver = (*Plugin)(nil)

// Settings are what an operator may set. Their defaults and limits are in the markers.
// +pintle:settings
type Settings struct {
	// Greeting is the first word that a container writes to its log.
	// +kubebuilder:default=started
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

// Open implements runtimedriver.RuntimeDriver. What runs outlives this process, and in an upgrade
// two are open for a moment: so nothing is remembered here that is not in the file.
func (p *Plugin) Open(_ context.Context, env plugin.Env) (runtimedriver.Driver, error) {
	d := &driver{settings: p.settings, file: newFile(env.Dir), subscribers: map[chan runtimedriver.Event]bool{}}
	if _, err := d.file.read(); err != nil {
		return nil, err
	}
	return d, nil
}
