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

func TestScaleValidate(t *testing.T) {
	scale := &crd.Scale{SpecReplicasPath: ".spec.size", StatusReplicasPath: ".status.size", LabelSelectorPath: ".status.selector"}
	tests := []struct {
		name   string
		object map[string]any
		want   string
	}{
		{"absent", map[string]any{}, ""},
		{"good", map[string]any{"spec": map[string]any{"size": int64(3)}, "status": map[string]any{"size": int64(1), "selector": "a=b"}}, ""},
		{"negative", map[string]any{"spec": map[string]any{"size": int64(-1)}}, ".spec.size: Invalid value: -1: should be a non-negative integer"},
		{"large", map[string]any{"status": map[string]any{"size": int64(1) << 40}}, ".status.size: Invalid value: 1099511627776: should be less than or equal to 2147483647"},
		{"not a number", map[string]any{"spec": map[string]any{"size": "x"}}, `.spec.size: Invalid value: 0: .spec.size accessor error: x is of the type string, expected int64`},
		{"selector", map[string]any{"status": map[string]any{"selector": int64(1)}}, `.status.selector: Invalid value: "": .status.selector accessor error: 1 is of the type int64, expected string`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got string
			if errs := scale.Validate(tt.object); len(errs) > 0 {
				got = errs.ToAggregate().Error()
			}
			if got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
	var none *crd.Scale
	if errs := none.Validate(map[string]any{}); len(errs) > 0 {
		t.Error(errs)
	}
}
