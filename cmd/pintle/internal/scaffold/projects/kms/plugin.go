package main

import (
	"context"
	_ "embed"
	"fmt"
	"path/filepath"

	"github.com/pintle-dev/pintle/sdk/kms"
	"github.com/pintle-dev/pintle/sdk/plugin"
)

var (
	//go:embed plugin.yaml
	manifest []byte
	// Written by `make generate` from Settings.
	//go:embed settings.schema.json
	settingsSchema []byte
)

// Plugin offers a key manager.
type Plugin struct {
	settings Settings
}

var _ kms.KeyManager = (*Plugin)(nil)

// Settings are what an operator may set. Their defaults and limits are in the markers.
// +pintle:settings
type Settings struct {
	// Directory of the keys, an absolute path: files NAME.key with 64 hexadecimal digits.
	// +kubebuilder:validation:MinLength=1
	Directory string `json:"directory"`
}

// Info implements plugin.Plugin: what plugin.yaml says.
func (*Plugin) Info() plugin.Info { return plugin.MustInfoFrom(manifest) }

// ConfigSchema implements plugin.Plugin.
func (*Plugin) ConfigSchema() []byte { return settingsSchema }

// Configure implements plugin.Plugin. The settings fit the schema.
func (p *Plugin) Configure(_ context.Context, raw []byte) error {
	if err := plugin.DecodeSettings(raw, &p.settings); err != nil {
		return err
	}
	if !filepath.IsAbs(p.settings.Directory) {
		return fmt.Errorf("settings.directory: %q is not an absolute path", p.settings.Directory)
	}
	return nil
}
