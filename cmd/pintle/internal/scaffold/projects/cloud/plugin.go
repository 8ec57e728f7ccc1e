package main

import (
	"context"
	_ "embed"
	"fmt"
	"net/netip"
	"path/filepath"

	"github.com/pintle-dev/pintle/sdk/cloud"
	"github.com/pintle-dev/pintle/sdk/plugin"
)

var (
	//go:embed plugin.yaml
	manifest []byte
	// Written by `make generate` from Settings.
	//go:embed settings.schema.json
	settingsSchema []byte
)

// provider is the first part of provider ids.
const provider = "gizmo-name"

// Plugin is a cloud provider.
type Plugin struct {
	settings Settings
	pool     netip.Prefix
}

var _ cloud.Cloud = (*Plugin)(nil)

// Settings are what an operator may set. Their defaults and limits are in the markers.
// +pintle:settings
type Settings struct {
	// Zone that all machines are in.
	// +kubebuilder:default=here
	// +kubebuilder:validation:MinLength=1
	Zone string `json:"zone,omitempty"`
	// Machines of the cloud. A node is known by its name.
	// +listType=map
	// +listMapKey=name
	Machines []Machine `json:"machines,omitempty"`
	// LoadBalancers is the range of addresses that Services of that type get theirs from.
	// +kubebuilder:default="192.0.2.0/28"
	LoadBalancers string `json:"loadBalancers,omitempty"`
}

// Machine is one machine of the cloud.
type Machine struct {
	// Name of the machine, and of its node.
	Name string `json:"name"`
	// Type of the machine, such as "large".
	Type string `json:"type,omitempty"`
	// Address of the machine within the cloud.
	Address string `json:"address,omitempty"`
	// Off says that it is shut down.
	Off bool `json:"off,omitempty"`
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
	var err error
	if p.pool, err = netip.ParsePrefix(p.settings.LoadBalancers); err != nil || p.pool != p.pool.Masked() {
		return fmt.Errorf("settings.loadBalancers: %q is not a range of addresses such as 192.0.2.0/28", p.settings.LoadBalancers)
	}
	for i, m := range p.settings.Machines {
		if _, err := netip.ParseAddr(m.Address); m.Address != "" && err != nil {
			return fmt.Errorf("settings.machines[%d].address: %q is not an address", i, m.Address)
		}
	}
	return nil
}

// Open implements cloud.Cloud. A cloud that has no routes, say, leaves them out.
func (p *Plugin) Open(_ context.Context, env plugin.Env) (cloud.Services, error) {
	balancers, err := openBalancers(filepath.Join(env.Dir, "loadbalancers.json"), p.pool)
	if err != nil {
		return cloud.Services{}, err
	}
	return cloud.Services{
		Provider:      provider,
		Instances:     &instances{settings: p.settings},
		LoadBalancers: balancers,
	}, nil
}
