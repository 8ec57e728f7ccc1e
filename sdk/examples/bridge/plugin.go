package main

import (
	"context"
	_ "embed"
	"fmt"
	"net/netip"
	"path/filepath"
	"sync"

	"github.com/pintle-dev/pintle/sdk/network"
	"github.com/pintle-dev/pintle/sdk/plugin"
)

var (
	//go:embed plugin.yaml
	manifest []byte
	// Written by `make generate` from Settings.
	//go:embed settings.schema.json
	settingsSchema []byte
)

// Plugin is the network of one node.
type Plugin struct {
	settings Settings

	mu    sync.RWMutex
	chain *chain // nil until the node is set up
}

var _ network.Network = (*Plugin)(nil)

// Settings are what an operator may set. Their defaults and limits are in the markers.
// +pintle:settings
type Settings struct {
	// Bridge is the link that the node's pods are attached to.
	// +kubebuilder:default=pods0
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=15
	Bridge string `json:"bridge,omitempty"`
	// PodCIDR is the range of the pods' addresses on a node that has none of its own, as in a
	// cluster of one.
	// +kubebuilder:default="10.88.0.0/24"
	PodCIDR string `json:"podCIDR,omitempty"`
	// BinDirs are searched for CNI plugins.
	// +kubebuilder:default={"/opt/cni/bin","/usr/lib/cni","/usr/libexec/cni"}
	// +kubebuilder:validation:MinItems=1
	BinDirs []string `json:"binDirs,omitempty"`
}

// Info implements plugin.Plugin: what plugin.yaml says.
func (*Plugin) Info() plugin.Info { return plugin.MustInfoFrom(manifest) }

// ConfigSchema implements plugin.Plugin.
func (*Plugin) ConfigSchema() []byte { return settingsSchema }

// Configure implements plugin.Plugin. The settings fit the schema and have its defaults; what the
// schema can't say is checked here.
func (p *Plugin) Configure(_ context.Context, raw []byte) error {
	if err := plugin.DecodeSettings(raw, &p.settings); err != nil {
		return err
	}
	if r, err := netip.ParsePrefix(p.settings.PodCIDR); err != nil || r != r.Masked() {
		return fmt.Errorf("settings.podCIDR: %q is not a range of addresses such as 10.88.0.0/24", p.settings.PodCIDR)
	}
	for i, d := range p.settings.BinDirs {
		if !filepath.IsAbs(d) {
			return fmt.Errorf("settings.binDirs[%d]: %q is not an absolute path", i, d)
		}
	}
	return nil
}
