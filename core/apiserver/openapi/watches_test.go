package openapi_test

import (
	"encoding/json"
	"testing"

	"github.com/pintle-dev/pintle/core/apiserver/apiservertest"
)

// Documents have the paths of old watches for types that come with the server, and of the
// list of a group version's resources, as upstream's do.
func TestOldWatchesAndResourceLists(t *testing.T) {
	s := serve(t, types(t))
	for _, document := range []string{"/openapi/v2", "/openapi/v3/api/v1"} {
		resp := apiservertest.Get(t, s.URL+document)
		var doc struct {
			Paths map[string]struct {
				Get struct {
					ID     string `json:"operationId"`
					Action string `json:"x-kubernetes-action"`
				} `json:"get"`
			} `json:"paths"`
		}
		if err := json.Unmarshal(resp.Body, &doc); err != nil {
			t.Fatal(err)
		}
		for path, want := range map[string][2]string{
			"/api/v1/":                    {"getCoreV1APIResources", ""},
			"/api/v1/watch/gears":         {"watchCoreV1GearList", "watchlist"},
			"/api/v1/watch/gears/{name}":  {"watchCoreV1Gear", "watch"},
			"/apis/example.dev/v1/watch/": {"", ""}, // custom resources have none
		} {
			if got := doc.Paths[path].Get; got.ID != want[0] || got.Action != want[1] {
				t.Errorf("%s %s: %+v, want %v", document, path, got, want)
			}
		}
	}
}
