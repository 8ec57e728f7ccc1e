package main

import (
	"fmt"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/pintle-dev/pintle/sdk/admission"
	"github.com/pintle-dev/pintle/sdk/plugintest"
	"github.com/pintle-dev/pintle/sdk/resource"
)

var pods = schema.GroupVersionResource{Version: "v1", Resource: "pods"}

func pod(image, labels string) map[string]any {
	return plugintest.Tree(fmt.Sprintf(`{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p","namespace":"default","labels":{%s}},
		"spec":{"containers":[{"name":"c","image":%q}]}}`, labels, image))
}

func create(image, labels string) resource.Request {
	return resource.Request{Operation: resource.Create, Resource: pods, Object: pod(image, labels)}
}

func TestAdmissionContract(t *testing.T) {
	digest := "registry:5000/a@sha256:" + strings.Repeat("0", 64)
	for images, refused := range map[string]map[string]string{
		"tag": {
			"a:1": "", digest: "", "registry:5000/a:1": "",
			"a": `spec.containers[0].image: "a" has no tag but latest, and no digest`, "a:latest": "has no tag but latest", "registry:5000/a": "has no tag but latest",
		},
		"digest": {digest: "", "a:1": `"a:1" has no digest`},
		"any":    {"a": ""},
	} {
		requests := map[string]plugintest.AdmissionRequest{
			"other labels stay": {Request: create(digest, `"team":"own"`)},
			"an image that was there": {Request: resource.Request{
				Operation: resource.Update, Resource: pods, Object: pod("old", `"a":"b"`), Old: pod("old", ""),
			}},
			"deletions":      {Request: resource.Request{Operation: resource.Delete, Resource: pods, Old: pod("old", "")}, Unasked: true},
			"other subjects": {Request: resource.Request{Operation: resource.Create, Resource: schema.GroupVersionResource{Version: "v1", Resource: "services"}, Object: pod("", "")}, Unasked: true},
		}
		for image, why := range refused {
			requests["image "+image] = plugintest.AdmissionRequest{Request: create(image, ""), Want: pod(image, `"team":"unknown"`), Refused: why}
		}
		t.Run(images, func(t *testing.T) {
			plugintest.RunAdmission(t, plugintest.AdmissionCase{
				Case: plugintest.Case{
					Settings: []byte(`{"labels":{"team":"unknown"},"images":"` + images + `"}`),
					BadSettings: map[string]string{
						`{"images":"some"}`: "settings.images", `{"labels":{"app.kubernetes.io/name":"x"}}`: "settings.labels", `{"label":{}}`: "settings.label",
					},
				},
				New:      func() admission.Admission { return &podguard{} },
				Requests: requests,
			})
		})
	}
}
