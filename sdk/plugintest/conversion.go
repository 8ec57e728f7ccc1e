package plugintest

import (
	"reflect"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/pintle-dev/pintle/crd/schema"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// convertsBack converts an object to each other version of its type that is served or stored, where
// it must fit the schema, and back, where it must be what it was.
func convertsBack(t *testing.T, b resource.Bundle, object map[string]any) {
	t.Helper()
	u := &unstructured.Unstructured{Object: object}
	from := u.GroupVersionKind()
	d, own := find(t, b, from)
	convert := resource.Conversion(b.Hooks(d.GroupResource()))
	if convert == nil {
		return
	}
	compile := func(version *resource.Version) *schema.Compiled {
		s, err := version.Schema()
		if err != nil {
			t.Fatal(err)
		}
		compiled, err := schema.Compile(s)
		if err != nil {
			t.Fatal(err)
		}
		return compiled
	}
	was := runtime.DeepCopyJSON(object)
	compile(own).Default(was)
	for i := range d.Versions {
		to := &d.Versions[i]
		if to.Name == from.Version || !to.Served && !to.Storage {
			continue
		}
		t.Run(to.Name, func(t *testing.T) {
			now := runtime.DeepCopyJSON(was)
			if err := convert(t.Context(), []map[string]any{now}, to.Name); err != nil {
				t.Fatal(err)
			}
			gone := &unstructured.Unstructured{Object: now}
			if got := gone.GroupVersionKind(); got.Version != to.Name || got.Group != from.Group || got.Kind != from.Kind {
				t.Fatalf("it has become %s", got)
			}
			if gone.GetName() != u.GetName() || gone.GetNamespace() != u.GetNamespace() {
				t.Errorf("its name was changed: %v", now["metadata"])
			}
			compiled := compile(to)
			if unknown := compiled.Prune(runtime.DeepCopyJSON(now)); len(unknown) > 0 {
				t.Errorf("%s has no field %v", to.Name, unknown)
			}
			if errs := compiled.Validate(t.Context(), now, nil); len(errs) > 0 {
				t.Errorf("what it has become does not fit: %v", errs.ToAggregate())
			}
			if err := convert(t.Context(), []map[string]any{now}, from.Version); err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(was, now) {
				t.Errorf("there and back it has become\n%v, was\n%v", now, was)
			}
		})
	}
}
