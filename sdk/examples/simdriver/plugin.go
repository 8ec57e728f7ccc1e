package main

import (
	"context"
	_ "embed"
	"fmt"

	"github.com/pintle-dev/pintle/sdk/plugin"
	"github.com/pintle-dev/pintle/sdk/runtimedriver"
)

//go:embed plugin.yaml
var manifest []byte

// simDriver is the plugin.
type simDriver struct {
	settings settings
}

var _ runtimedriver.RuntimeDriver = (*simDriver)(nil)

type settings struct {
	// Greeting is the first word of what containers write that do nothing else.
	Greeting string `json:"greeting"`
}

// Info implements plugin.Plugin. It asks for no permissions: the node's agent tells it all.
func (*simDriver) Info() plugin.Info { return plugin.MustInfoFrom(manifest) }

// ConfigSchema implements plugin.Plugin.
func (*simDriver) ConfigSchema() []byte {
	return []byte(`{
		"type": "object",
		"properties": {
			"greeting": {"type": "string", "minLength": 1, "default": "hollow:", "description": "The first word of what containers write."}
		}
	}`)
}

// Configure implements plugin.Plugin.
func (p *simDriver) Configure(_ context.Context, raw []byte) error {
	s := settings{Greeting: "hollow:"}
	if err := plugin.DecodeSettings(raw, &s); err != nil {
		return fmt.Errorf("settings: %w", err)
	}
	p.settings = s
	return nil
}

// Open implements runtimedriver.RuntimeDriver. What there is stands in a file, so that the pods are
// still there after a restart, and so that two versions of the plugin agree during an upgrade.
func (p *simDriver) Open(_ context.Context, env plugin.Env) (runtimedriver.Driver, error) {
	d := &driver{settings: p.settings, log: env.Log, file: newFile(env.Dir), subscribers: map[chan runtimedriver.Event]bool{}}
	if _, err := d.file.read(); err != nil {
		return nil, err
	}
	return d, nil
}
