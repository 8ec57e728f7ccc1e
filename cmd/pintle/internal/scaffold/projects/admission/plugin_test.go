package main

import (
	"testing"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/pintle-dev/pintle/sdk/admission"
	"github.com/pintle-dev/pintle/sdk/plugintest"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// deployment is a request that creates one, with labels as JSON.
func deployment(labels string) resource.Request {
	return resource.Request{
		Operation: resource.Create,
		Resource:  schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"},
		Object:    object(labels),
	}
}

func object(labels string) map[string]any {
	return plugintest.Tree(`{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"web","namespace":"default","labels":` + labels + `}}`)
}

// The suite of plugintest holds the plugin to what every host relies on, and to what is said here
// of some requests.
func TestAdmissionContract(t *testing.T) {
	badSettings := map[string]string{`{"label":""}`: "settings.label", `{"labels":"x"}`: "settings.labels"}
	for _, tc := range []struct {
		settings string
		requests map[string]plugintest.AdmissionRequest
	}{
		{`{}`, map[string]plugintest.AdmissionRequest{
			"has the label": {Request: deployment(`{"team":"a"}`)},
			"lacks it":      {Request: deployment(`{"tier":"web"}`), Refused: `the label "team" is required`},
			"is something else": {Unasked: true, Request: resource.Request{
				Operation: resource.Create,
				Resource:  schema.GroupVersionResource{Version: "v1", Resource: "configmaps"},
				Object:    plugintest.Tree(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a","namespace":"default"}}`),
			}},
		}},
		{`{"default":"nobody"}`, map[string]plugintest.AdmissionRequest{
			"gets the default": {Request: deployment(`{"tier":"web"}`), Want: object(`{"tier":"web","team":"nobody"}`)},
			"keeps its own":    {Request: deployment(`{"team":"a"}`)},
		}},
	} {
		t.Run(tc.settings, func(t *testing.T) {
			plugintest.RunAdmission(t, plugintest.AdmissionCase{
				Case:     plugintest.Case{Settings: []byte(tc.settings), BadSettings: badSettings},
				New:      func() admission.Admission { return &Plugin{} },
				Requests: tc.requests,
			})
		})
	}
}
