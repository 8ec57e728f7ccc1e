package crd_test

import (
	"strings"
	"testing"

	"github.com/pintle-dev/pintle/crd"
)

func TestConvert(t *testing.T) {
	core := &crd.Definition{Names: crd.Names{Plural: "things"}, Versions: []crd.Version{{Name: "v1"}, {Name: "v2", Storage: true}}}
	grouped := &crd.Definition{Group: "example.com", Names: crd.Names{Plural: "things"}, Versions: core.Versions}
	webhook := &crd.Definition{Group: "example.com", Names: crd.Names{Plural: "things"}, Versions: core.Versions, Conversion: &crd.Conversion{Strategy: "Webhook"}}
	tests := []struct {
		name           string
		d              *crd.Definition
		from, to, want string
		fails          string
	}{
		{"core", core, "v1", "v2", "v2", ""},
		{"group", grouped, "example.com/v1", "v2", "example.com/v2", ""},
		{"same version needs no converter", webhook, "example.com/v1", "v1", "example.com/v1", ""},
		{"no converter", webhook, "example.com/v1", "v2", "example.com/v1", `things.example.com: objects in example.com/v1 can't be converted to example.com/v2`},
		{"unknown version", grouped, "example.com/v1", "v3", "example.com/v1", `has no version "v3"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			object := map[string]any{"apiVersion": tt.from}
			err := tt.d.Convert(object, tt.to)
			if (err != nil) != (tt.fails != "") || (err != nil && !strings.Contains(err.Error(), tt.fails)) {
				t.Errorf("got error %v, want %q", err, tt.fails)
			}
			if object["apiVersion"] != tt.want {
				t.Errorf("got %v, want %s", object["apiVersion"], tt.want)
			}
		})
	}
	if v := core.StorageVersion(); v == nil || v.Name != "v2" {
		t.Errorf("storage version %v", v)
	}
}
