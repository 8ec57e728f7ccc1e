package main

import (
	"context"
	"fmt"
	"net/netip"
	"path/filepath"

	"github.com/pintle-dev/pintle/sdk/cloud"
	"github.com/pintle-dev/pintle/sdk/plugin"
)

const providerName = "local"

// localCloud is the provider.
type localCloud struct {
	settings settings
}

var _ cloud.Cloud = (*localCloud)(nil)

type settings struct {
	// Instances is the path of a file, read each time: what stands there exists. One that is not
	// absolute is in the plugin's private directory.
	Instances string `json:"instances"`
	// Address is where load balancers listen.
	Address string `json:"address"`
}

// Info implements plugin.Plugin. It asks for no permissions: the plugin "cloud" tells it all.
func (*localCloud) Info() plugin.Info {
	return plugin.Info{Name: "cloud-local", Version: "0.1.0", Description: "Machines from a file, load balancers on this machine"}
}

// ConfigSchema implements plugin.Plugin.
func (*localCloud) ConfigSchema() []byte {
	return []byte(`{
		"type": "object",
		"required": ["instances"],
		"properties": {
			"instances": {"type": "string", "minLength": 1, "description": "File with the machines, as JSON or YAML; by default in the plugin's own directory."},
			"address": {"type": "string", "default": "127.0.0.1", "description": "Where load balancers listen."}
		}
	}`)
}

// Configure implements plugin.Plugin.
func (l *localCloud) Configure(_ context.Context, raw []byte) error {
	s := settings{Address: "127.0.0.1"}
	if err := plugin.DecodeSettings(raw, &s); err != nil {
		return fmt.Errorf("settings: %w", err)
	}
	if !filepath.IsAbs(s.Instances) && !filepath.IsLocal(s.Instances) {
		return fmt.Errorf("settings.instances: %q is neither an absolute path nor one within the plugin's directory", s.Instances)
	}
	if _, err := netip.ParseAddr(s.Address); err != nil {
		return fmt.Errorf("settings.address: %w", err)
	}
	l.settings = s
	return nil
}

// Open implements cloud.Cloud. Load balancers that there were before a restart are back when it
// returns.
func (l *localCloud) Open(ctx context.Context, env plugin.Env) (cloud.Services, error) {
	file := l.settings.Instances
	if !filepath.IsAbs(file) {
		file = filepath.Join(env.Dir, file)
	}
	b := newBalancers(l.settings.Address, filepath.Join(env.Dir, "balancers.json"), env.Log)
	if err := b.restore(ctx); err != nil {
		return cloud.Services{}, err
	}
	context.AfterFunc(ctx, b.close)
	return cloud.Services{Provider: providerName, Instances: instances{file}, LoadBalancers: b}, nil
}
