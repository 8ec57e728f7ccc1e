package main

import (
	"context"
	"fmt"

	"github.com/pintle-dev/pintle/sdk/plugin"
)

// cheapest is the plugin.
type cheapest struct {
	settings settings
}

type settings struct {
	// Label names the price of a node in its labels or annotations.
	Label string `json:"label"`
	// Default is the price of nodes that name none.
	Default float64 `json:"default"`
	// MaxLabel names, in a pod's labels or annotations, the most that its node may cost.
	MaxLabel string `json:"maxLabel"`
}

var _ plugin.Plugin = (*cheapest)(nil)

func newPlugin() *cheapest { return &cheapest{} }

// Info says who the plugin is. It reads nothing from the API server, so it asks for nothing.
func (*cheapest) Info() plugin.Info {
	return plugin.Info{
		Name: "cheapest", Version: "0.1.0",
		Description: "Prefers the nodes that cost least.",
	}
}

// ConfigSchema describes the settings; its defaults are filled in before Configure.
func (*cheapest) ConfigSchema() []byte {
	return []byte(`{
	  "type": "object",
	  "properties": {
	    "label": {
	      "description": "Label or annotation with the price of a node per hour.",
	      "type": "string", "minLength": 1, "default": "example.dev/price"
	    },
	    "default": {
	      "description": "Price of a node that names none.",
	      "type": "number", "minimum": 0, "default": 1
	    },
	    "maxLabel": {
	      "description": "Label or annotation with the most that a pod's node may cost per hour.",
	      "type": "string", "minLength": 1, "default": "example.dev/max-price"
	    }
	  }
	}`)
}

// Configure takes the settings.
func (c *cheapest) Configure(_ context.Context, raw []byte) error {
	var s settings
	if err := plugin.DecodeSettings(raw, &s); err != nil {
		return fmt.Errorf("settings: %w", err)
	}
	c.settings = s
	return nil
}
