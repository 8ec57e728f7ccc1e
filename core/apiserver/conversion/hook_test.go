package conversion_test

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/pintle-dev/pintle/core/apiserver/conversion"
)

func TestHook(t *testing.T) {
	to := schema.GroupVersionKind{Group: "example.dev", Version: "v2", Kind: "Gear"}
	object := func(version string) map[string]any {
		return map[string]any{
			"apiVersion": "example.dev/" + version, "kind": "Gear",
			"metadata": map[string]any{"name": "g", "uid": "u", "resourceVersion": "7", "labels": map[string]any{"a": "b"}},
		}
	}
	meta := func(o map[string]any) map[string]any { m, _ := o["metadata"].(map[string]any); return m }
	for name, tc := range map[string]struct {
		hook func(o map[string]any)
		want map[string]any // metadata
		err  string
	}{
		"nothing":           {hook: func(map[string]any) {}, want: meta(object("v2"))},
		"labels":            {hook: func(o map[string]any) { meta(o)["labels"] = map[string]any{"c": "d"} }, want: map[string]any{"name": "g", "uid": "u", "resourceVersion": "7", "labels": map[string]any{"c": "d"}}},
		"other metadata":    {hook: func(o map[string]any) { meta(o)["resourceVersion"] = "8"; meta(o)["finalizers"] = []any{"x"} }, want: meta(object("v2"))},
		"another name":      {hook: func(o map[string]any) { meta(o)["name"] = "h" }, err: "must have the same name: g != h"},
		"another UID":       {hook: func(o map[string]any) { meta(o)["uid"] = "w" }, err: "must have the same UID"},
		"another kind":      {hook: func(o map[string]any) { o["kind"] = "Wheel" }, err: "invalid kind (expected Gear, received Wheel)"},
		"no metadata":       {hook: func(o map[string]any) { delete(o, "metadata") }, err: "must have the same name"},
		"labels of no kind": {hook: func(o map[string]any) { meta(o)["labels"] = map[string]any{"a": int64(1)} }, err: "metadata.labels[a] must be a string"},
	} {
		t.Run(name, func(t *testing.T) {
			asked := 0
			c := conversion.ByHook(func(_ context.Context, objects []map[string]any, version string) error {
				asked = len(objects)
				for _, o := range objects {
					o["apiVersion"] = "example.dev/" + version
					tc.hook(o)
				}
				return nil
			})
			in := []map[string]any{object("v2"), object("v1")}
			before := []map[string]any{runtime.DeepCopyJSON(in[0]), runtime.DeepCopyJSON(in[1])}
			out, err := c.Convert(t.Context(), in, to)
			if asked != 1 {
				t.Errorf("the hook was asked about %d objects", asked)
			}
			if !reflect.DeepEqual(in, before) {
				t.Errorf("what was given was changed: %v", in)
			}
			if tc.err != "" {
				if err == nil || !strings.Contains(err.Error(), tc.err) {
					t.Errorf("got %v, want %q", err, tc.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if out[1]["apiVersion"] != "example.dev/v2" || !reflect.DeepEqual(out[1]["metadata"], any(tc.want)) {
				t.Errorf("got %v", out[1])
			}
		})
	}
	t.Run("a hook's error is as it was", func(t *testing.T) {
		no := errors.New("no")
		c := conversion.ByHook(func(context.Context, []map[string]any, string) error { return no })
		if _, err := c.Convert(t.Context(), []map[string]any{object("v1")}, to); !errors.Is(err, no) {
			t.Errorf("got %v", err)
		}
	})
}
