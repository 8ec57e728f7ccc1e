package plugin_test

import (
	"reflect"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"

	"github.com/pintle-dev/pintle/sdk/plugin"
)

func TestInfoFrom(t *testing.T) {
	got, err := plugin.InfoFrom([]byte(`
apiVersion: core.pintle.dev/v1
kind: PluginManifest
name: widget
version: 0.1.0
description: Widgets
protocol: 1
points: [controller]
permissions:
- {apiGroups: [""], resources: [pods], verbs: [get]}
`))
	if err != nil {
		t.Fatal(err)
	}
	want := plugin.Info{
		Name: "widget", Version: "0.1.0", Description: "Widgets",
		Permissions: []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"get"}}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v", got)
	}
	for text, want := range map[string]string{"name: widget": "name and version", "name: [": "plugin.yaml"} {
		if _, err := plugin.InfoFrom([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
}
