package webhook_test

import (
	"bufio"
	"encoding/json"
	"os"
	"slices"
	"testing"

	runtimeschema "k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/pintle-dev/pintle/core/admission/webhook"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// plain is a webhook with nothing wrong.
func plain() map[string]any {
	return map[string]any{
		"name": "a.b.cc", "clientConfig": map[string]any{"url": "https://127.0.0.1:1/x"}, "sideEffects": "None", "admissionReviewVersions": []any{"v1"},
		"rules": []any{map[string]any{"operations": []any{"CREATE"}, "apiGroups": []any{"nogroup.test"}, "apiVersions": []any{"v1"}, "resources": []any{"nothings"}}},
	}
}

func object(hooks ...map[string]any) map[string]any {
	list := make([]any, len(hooks))
	for i, h := range hooks {
		w := plain()
		for k, v := range h {
			if v == nil {
				delete(w, k)
			} else {
				w[k] = v
			}
		}
		list[i] = w
	}
	return map[string]any{"metadata": map[string]any{"name": "x"}, "webhooks": list}
}

func causes(t *testing.T, plural string, now, old map[string]any) []string {
	t.Helper()
	r := &resource.Request{
		Operation: resource.Create, Object: now, Old: old,
		Resource: runtimeschema.GroupVersionResource{Group: "admissionregistration.k8s.io", Version: "v1", Resource: plural},
	}
	got := []string{}
	for _, e := range webhook.Check(t.Context(), r) {
		got = append(got, string(e.Type)+" "+e.Field+": "+e.ErrorBody())
	}
	slices.Sort(got)
	return got
}

// The causes in the file are those that kube-apiserver 1.36.3 gives for the same objects.
func TestCheck(t *testing.T) {
	file, err := os.Open("testdata/configurations.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	n := 0
	for lines.Scan() {
		var c struct {
			Kind     string
			Webhooks []map[string]any
			Causes   []string
		}
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			t.Fatal(err)
		}
		if got := causes(t, c.Kind, object(c.Webhooks...), nil); !slices.Equal(got, c.Causes) {
			t.Errorf("%s\n got %q\nwant %q", lines.Bytes(), got, c.Causes)
		}
		n++
	}
	if n < 60 {
		t.Errorf("only %d cases", n)
	}
}

// What an object has had before is not held against a change of something else.
func TestCheckChanges(t *testing.T) {
	m := func(k string, v any) map[string]any { return map[string]any{k: v} }
	condition := func(expression string) []any { return []any{map[string]any{"name": "a", "expression": expression}} }
	selector := func(value string) map[string]any {
		return m("objectSelector", m("matchExpressions", []any{map[string]any{"key": "a", "operator": "In", "values": []any{value}}}))
	}
	for _, c := range []struct {
		name     string
		old, now []map[string]any
		want     int
	}{
		{"side effects stay", []map[string]any{m("sideEffects", "Some")}, []map[string]any{m("sideEffects", "Some")}, 0},
		{"side effects come", []map[string]any{{}}, []map[string]any{m("sideEffects", "Some")}, 1},
		{"versions stay", []map[string]any{m("admissionReviewVersions", []any{"v9"})}, []map[string]any{m("admissionReviewVersions", []any{"v9"})}, 0},
		{"versions go", []map[string]any{{}}, []map[string]any{m("admissionReviewVersions", []any{"v9"})}, 1},
		{"names stay", []map[string]any{{}, {}}, []map[string]any{{}, {}}, 0},
		{"names become the same", []map[string]any{{}, m("name", "x.y.z")}, []map[string]any{{}, {}}, 1},
		{"conditions stay", []map[string]any{m("matchConditions", condition("nonsense("))}, []map[string]any{m("matchConditions", condition("nonsense("))}, 0},
		{"conditions change", []map[string]any{m("matchConditions", condition("nonsense("))}, []map[string]any{m("matchConditions", condition("nonsense(("))}, 1},
		{"selectors stay", []map[string]any{selector("b c")}, []map[string]any{selector("b c")}, 0},
		{"selectors change", []map[string]any{{}}, []map[string]any{selector("b c")}, 1},
	} {
		if got := causes(t, "validatingwebhookconfigurations", object(c.now...), object(c.old...)); len(got) != c.want {
			t.Errorf("%s: %q", c.name, got)
		}
	}
}
