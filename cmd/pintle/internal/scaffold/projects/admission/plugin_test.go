package main

import (
	"strings"
	"testing"

	"github.com/pintle-dev/pintle/sdk/admission"
	"github.com/pintle-dev/pintle/sdk/resource"
)

func request(labels map[string]any) *admission.Request {
	return &admission.Request{Request: &resource.Request{
		Operation: resource.Create,
		Object: map[string]any{
			"apiVersion": "apps/v1", "kind": "Deployment",
			"metadata": map[string]any{"name": "web", "namespace": "default", "labels": labels},
		},
	}}
}

func TestAdmit(t *testing.T) {
	for _, tc := range []struct {
		name, settings string
		labels         map[string]any
		changed        bool
		refused        string
	}{
		{"has the label", `{"label":"team"}`, map[string]any{"team": "a"}, false, ""},
		{"lacks it", `{"label":"team"}`, map[string]any{"tier": "web"}, false, `the label "team" is required`},
		{"gets it", `{"label":"team","default":"nobody"}`, map[string]any{}, true, ""},
		{"keeps its own", `{"label":"team","default":"nobody"}`, map[string]any{"team": "a"}, false, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := &Plugin{}
			if err := p.Configure(t.Context(), []byte(tc.settings)); err != nil {
				t.Fatal(err)
			}
			r := request(tc.labels)
			changed, err := p.Mutate(t.Context(), r)
			if err != nil || changed != tc.changed {
				t.Errorf("changed %v, %v", changed, err)
			}
			err = p.Validate(t.Context(), r)
			if (err == nil) != (tc.refused == "") || err != nil && !strings.Contains(err.Error(), tc.refused) {
				t.Errorf("got %v, want %q", err, tc.refused)
			}
		})
	}
}

func TestDeclarationIsWhole(t *testing.T) {
	d := (&Plugin{}).Declare()
	if err := d.Complete(); err != nil {
		t.Error(err)
	}
}
