package main

import (
	"context"
	"fmt"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/pintle-dev/pintle/sdk/controller"
	"github.com/pintle-dev/pintle/sdk/plugin"
	"github.com/pintle-dev/pintle/sdk/resource"
)

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

// Info implements plugin.Plugin.
func (*widgetPlugin) Info() plugin.Info {
	return plugin.Info{
		Name:        "widget",
		Version:     "0.1.0",
		Description: "Widgets, each with a ConfigMap that says hello",
		Permissions: []rbacv1.PolicyRule{
			{APIGroups: []string{group}, Resources: []string{"widgets"}, Verbs: []string{"get", "list", "watch"}},
			{APIGroups: []string{group}, Resources: []string{"widgets/status"}, Verbs: []string{"get", "patch", "update"}},
			{APIGroups: []string{""}, Resources: []string{"configmaps"}, Verbs: []string{"get", "create", "patch", "update"}},
		},
	}
}

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
