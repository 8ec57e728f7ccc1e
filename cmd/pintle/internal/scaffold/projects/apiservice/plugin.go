package main

import (
	"context"
	_ "embed"
	"time"

	"github.com/pintle-dev/pintle/sdk/apiservice"
	"github.com/pintle-dev/pintle/sdk/plugin"
)

var (
	//go:embed plugin.yaml
	manifest []byte
	// Written by `make generate` from Settings.
	//go:embed settings.schema.json
	settingsSchema []byte
)

// Plugin serves Gizmos.
type Plugin struct {
	settings Settings
}

var _ apiservice.APIService = (*Plugin)(nil)

// Settings are what an operator may set. Their defaults and limits are in the markers.
// +pintle:settings
type Settings struct {
	// Seconds between two looks at the file systems.
	// +kubebuilder:default=10
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=3600
	Seconds int `json:"seconds,omitempty"`
	// FileSystems that are shown.
	// +kubebuilder:default={{name: root, path: "/"}}
	// +listType=map
	// +listMapKey=name
	FileSystems []FileSystem `json:"fileSystems,omitempty"`
}

// FileSystem is one of the machine that the API server runs on.
type FileSystem struct {
	// Name of the object that shows it.
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	Name string `json:"name"`
	// Path that it is mounted at, or of something in it.
	// +kubebuilder:validation:Pattern=`^/`
	Path string `json:"path"`
}

func (s Settings) interval() time.Duration { return time.Duration(s.Seconds) * time.Second }

// Info implements plugin.Plugin: what plugin.yaml says.
func (*Plugin) Info() plugin.Info { return plugin.MustInfoFrom(manifest) }

// ConfigSchema implements plugin.Plugin.
func (*Plugin) ConfigSchema() []byte { return settingsSchema }

// Configure implements plugin.Plugin. The settings fit the schema and have its defaults.
func (p *Plugin) Configure(_ context.Context, raw []byte) error {
	return plugin.DecodeSettings(raw, &p.settings)
}
