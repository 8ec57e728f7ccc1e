package main

import (
	"context"
	_ "embed"

	"github.com/pintle-dev/pintle/sdk/authentication"
	"github.com/pintle-dev/pintle/sdk/plugin"
)

var (
	//go:embed plugin.yaml
	manifest []byte
	// Written by `make generate` from Settings.
	//go:embed settings.schema.json
	settingsSchema []byte
)

// Plugin knows who sends a token.
type Plugin struct {
	settings Settings
}

var _ authentication.Authenticator = (*Plugin)(nil)

// Settings are what an operator may set. Their defaults and limits are in the markers.
// +pintle:settings
type Settings struct {
	// Tokens that are known.
	// +listType=map
	// +listMapKey=sha256
	Tokens []Known `json:"tokens,omitempty"`
}

// Known is a token that is known, and whose it is.
type Known struct {
	// SHA256 of the token, in hexadecimal: the token itself is nowhere.
	// +kubebuilder:validation:Pattern="^[0-9a-f]{64}$"
	SHA256 string `json:"sha256"`
	// User who sends it.
	// +kubebuilder:validation:MinLength=1
	User string `json:"user"`
	// Groups of the user.
	Groups []string `json:"groups,omitempty"`
}

// Info implements plugin.Plugin: what plugin.yaml says.
func (*Plugin) Info() plugin.Info { return plugin.MustInfoFrom(manifest) }

// ConfigSchema implements plugin.Plugin.
func (*Plugin) ConfigSchema() []byte { return settingsSchema }

// Configure implements plugin.Plugin. The settings fit the schema and have its defaults.
func (p *Plugin) Configure(_ context.Context, raw []byte) error {
	return plugin.DecodeSettings(raw, &p.settings)
}
