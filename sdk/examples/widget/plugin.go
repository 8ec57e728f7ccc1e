package main

import (
	"context"
	_ "embed"
	"fmt"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/pintle-dev/pintle/sdk/controller"
	"github.com/pintle-dev/pintle/sdk/plugin"
	"github.com/pintle-dev/pintle/sdk/resource"
)

//go:embed plugin.yaml
var manifest []byte

// widgetPlugin offers a resource type and a controller.
type widgetPlugin struct {
	settings settings
}

var (
	_ resource.Bundle       = (*widgetPlugin)(nil)
	_ controller.Controller = (*widgetPlugin)(nil)
)

func newPlugin() *widgetPlugin { return &widgetPlugin{} }

// settings are what an operator may set in the cluster's configuration.
type settings struct {
	// Greeting is the first word of what a widget says.
	Greeting string `json:"greeting"`
}

// Info implements plugin.Plugin: what plugin.yaml says, the permissions too.
func (*widgetPlugin) Info() plugin.Info { return plugin.MustInfoFrom(manifest) }

// ConfigSchema implements plugin.Plugin. The host checks settings against it, and sets
// the defaults, before Configure.
func (*widgetPlugin) ConfigSchema() []byte {
	return []byte(`{
		"type": "object",
		"properties": {
			"greeting": {"type": "string", "minLength": 1, "default": "Hello"}
		}
	}`)
}

// Configure implements plugin.Plugin.
func (p *widgetPlugin) Configure(_ context.Context, raw []byte) error {
	if err := plugin.DecodeSettings(raw, &p.settings); err != nil {
		return fmt.Errorf("settings: %w", err)
	}
	return nil
}

// Hooks implements resource.Bundle.
func (*widgetPlugin) Hooks(gr schema.GroupResource) any {
	if gr == gvr.GroupResource() {
		return hooks{}
	}
	return nil
}
