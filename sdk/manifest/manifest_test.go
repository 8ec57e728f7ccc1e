package manifest_test

import (
	"strings"
	"testing"

	"github.com/pintle-dev/pintle/sdk/manifest"
)

const whole = `
apiVersion: core.pintle.dev/v1
kind: PluginManifest
name: widget
version: 0.1.0
protocol: 1
points: [resource, controller]
types: [widgets.example.dev]
permissions:
- {apiGroups: [example.dev], resources: [widgets], verbs: [get]}
requires:
- {plugin: gadget, version: ">=1.2, <2"}
resources: {memory: 64Mi, cpu: 500m, processes: 32}
network: true
binary: widget
`

func TestParse(t *testing.T) {
	m, err := manifest.Parse([]byte(whole))
	if err != nil {
		t.Fatal(err)
	}
	if m.Name != "widget" || m.Resources.Memory.Value() != 64<<20 || m.Resources.CPU.MilliValue() != 500 || *m.Resources.Processes != 32 || m.Requires[0].Plugin != "gadget" {
		t.Errorf("%+v", m)
	}
}

func TestParseRefuses(t *testing.T) {
	for _, tc := range []struct{ name, from, to, want string }{
		{"an unknown field", "network: true", "networks: true", `unknown field "networks"`},
		{"a field twice", "network: true", "network: true\nnetwork: false", `already set`},
		{"another kind", "PluginManifest", "Plugin", `kind: Unsupported value: "Plugin"`},
		{"a bad name", "name: widget", "name: Widget", `name: Invalid value: "Widget"`},
		{"a version with v", "0.1.0", "v0.1.0", `version: Invalid value: "v0.1.0"`},
		{"no protocol", "protocol: 1", "protocol: 0", `protocol: Invalid value: 0`},
		{"no points", "[resource, controller]", "[]", `points: Required value`},
		{"a type without group", "widgets.example.dev", "widgets", `types[0]: Invalid value: "widgets"`},
		{"a permission that allows nothing", "verbs: [get]", "verbs: []", `permissions[0]: Invalid value`},
		{"itself", "plugin: gadget", "plugin: widget", `requires[0].plugin: Invalid value: "widget": a plugin can't require itself`},
		{"a bad constraint", ">=1.2, <2", "newest", `requires[0].version: Invalid value: "newest"`},
		{"no memory", "64Mi", "0", `resources.memory: Invalid value: "0"`},
		{"no processes", "processes: 32", "processes: 0", `resources.processes: Invalid value: 0`},
		{"a binary elsewhere", "binary: widget", "binary: ../widget", `binary: Invalid value: "../widget"`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			text := strings.Replace(whole, tc.from, tc.to, 1)
			if text == whole {
				t.Fatalf("%q is not there", tc.from)
			}
			_, err := manifest.Parse([]byte(text))
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}
