package sim

import (
	"context"
	"fmt"

	"github.com/pintle-dev/pintle/sdk/plugin"
	driver "github.com/pintle-dev/pintle/sdk/runtimedriver"
)

// Name of the plugin.
const Name = "sim"

// Plugin is the driver as a plugin. Its containers last as long as its process.
type Plugin struct{ driver *Driver }

var _ driver.RuntimeDriver = (*Plugin)(nil)

// NewPlugin makes a Plugin. It has every image that somebody pulls, and its pods need no network.
func NewPlugin() *Plugin {
	return &Plugin{New(Options{Pull: func(string) error { return nil }, NoNetwork: true})}
}

// Info implements plugin.Plugin.
func (*Plugin) Info() plugin.Info {
	return plugin.Info{Name: Name, Version: "1.0.0", Description: "A container runtime whose containers are hollow: for tests of control planes"}
}

// ConfigSchema implements plugin.Plugin: there are no settings.
func (*Plugin) ConfigSchema() []byte { return nil }

// Configure implements plugin.Plugin.
func (*Plugin) Configure(_ context.Context, settings []byte) error {
	if err := plugin.DecodeSettings(settings, &struct{}{}); err != nil {
		return fmt.Errorf("settings: %w", err)
	}
	return nil
}

// Open implements driver.RuntimeDriver.
func (p *Plugin) Open(context.Context, plugin.Env) (driver.Driver, error) { return p.driver, nil }
