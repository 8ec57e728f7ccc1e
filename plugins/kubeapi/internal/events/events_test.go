package events

import (
	"maps"
	"reflect"
	"testing"

	runtimeschema "k8s.io/apimachinery/pkg/runtime/schema"
)

func TestPrintIsTheSameForBothForms(t *testing.T) {
	metadata := map[string]any{"name": "web.1"}
	for _, c := range []struct {
		name  string
		event map[string]any
		want  []any
	}{
		{"with a source", map[string]any{
			"metadata": metadata, "type": "Warning", "reason": "BackOff", "message": " restarting\n", "count": int64(3),
			"involvedObject": map[string]any{"kind": "Pod", "name": "web", "fieldPath": "spec.containers{a}"},
			"source":         map[string]any{"component": "kubelet", "host": "node-1"},
		}, []any{"<unknown>", "Warning", "BackOff", "pod/web", "spec.containers{a}", "kubelet, node-1", "restarting", "<unknown>", int64(3), "web.1"}},
		{"with a series", map[string]any{
			"metadata": metadata, "type": "Normal", "reason": "Seen", "message": "again",
			"involvedObject": map[string]any{"kind": "Node"}, "reportingComponent": "controller",
			"series": map[string]any{"count": int64(7)},
		}, []any{"<unknown>", "Normal", "Seen", "node", "", "controller", "again", "<unknown>", int64(7), "web.1"}},
		{"once", map[string]any{"metadata": metadata}, []any{"<unknown>", "", "", "", "", "", "", "<unknown>", int64(1), "web.1"}},
	} {
		if got := Print(c.event); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s, core: %q, want %q", c.name, got, c.want)
		}
		newer, err := Hooks{}.Convert(maps.Clone(c.event), runtimeschema.GroupVersionKind{Group: Group, Version: "v1", Kind: "Event"})
		if err != nil {
			t.Fatal(err)
		}
		before := maps.Clone(newer)
		if got := Print(newer); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s, %s: %q, want %q", c.name, Group, got, c.want)
		}
		if !reflect.DeepEqual(newer, before) {
			t.Errorf("%s: printing changed the event", c.name)
		}
	}
}
