package managedfields

import (
	"encoding/json"
	"fmt"
	"reflect"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	upstream "k8s.io/apimachinery/pkg/util/managedfields"
	"pgregory.net/rapid"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
	"sigs.k8s.io/structured-merge-diff/v6/typed"

	"github.com/pintle-dev/pintle/core/apiserver/internal/jsontree"
)

const testTypes = `types:
- name: object
  map:
    fields:
    - {name: apiVersion, type: {scalar: string}}
    - {name: kind, type: {scalar: string}}
    - name: metadata
      type: {namedType: meta}
    - name: spec
      type: {namedType: spec}
    - name: status
      type: {namedType: spec}
- name: meta
  map:
    fields:
    - {name: name, type: {scalar: string}}
    - {name: uid, type: {scalar: string}}
    - {name: managedFields, type: {namedType: __untyped_atomic_}}
    - name: labels
      type: {map: {elementType: {scalar: string}}}
- name: spec
  map:
    fields:
    - {name: text, type: {scalar: string}}
    - {name: number, type: {scalar: numeric}}
    - name: atomicMap
      type: {map: {elementType: {scalar: string}, elementRelationship: atomic}}
    - name: atomicList
      type: {list: {elementType: {scalar: string}, elementRelationship: atomic}}
    - name: set
      type: {list: {elementType: {scalar: string}, elementRelationship: associative}}
    - name: items
      type: {list: {elementType: {namedType: item}, elementRelationship: associative, keys: [name, port]}}
    - name: any
      type: {namedType: __untyped_deduced_}
- name: item
  map:
    fields:
    - {name: name, type: {scalar: string}}
    - {name: port, type: {scalar: numeric}, default: 80}
    - {name: value, type: {scalar: string}}
    - name: more
      type: {map: {elementType: {scalar: string}}}
- name: __untyped_atomic_
  scalar: untyped
  list: {elementType: {namedType: __untyped_atomic_}, elementRelationship: atomic}
  map: {elementType: {namedType: __untyped_atomic_}, elementRelationship: atomic}
- name: __untyped_deduced_
  scalar: untyped
  list: {elementType: {namedType: __untyped_atomic_}, elementRelationship: atomic}
  map: {elementType: {namedType: __untyped_deduced_}, elementRelationship: separable}
`

var testGVK = schema.GroupVersionKind{Group: "test.dev", Version: "v1", Kind: "Object"}

func testType(t testing.TB, status bool) (*Type, *upstream.FieldManager) {
	t.Helper()
	p, err := typed.NewParser(testTypes)
	if err != nil {
		t.Fatal(err)
	}
	pt := p.Type("object")
	ours, err := NewType(pt, Options{Blank: map[string]any{}, Status: status})
	if err != nil {
		t.Fatal(err)
	}
	c := converter{typed: pt, gvk: testGVK, blank: map[string]any{}}
	reset := map[fieldpath.APIVersion]fieldpath.Filter{}
	if status {
		reset["test.dev/v1"] = fieldpath.NewExcludeSetFilter(fieldpath.NewSet(fieldpath.MakePathOrDie("status")))
	}
	theirs, err := upstream.NewDefaultCRDFieldManager(c, c, c, c, testGVK, testGVK.GroupVersion(), "", reset)
	if err != nil {
		t.Fatal(err)
	}
	return ours, theirs
}

// genSpec draws part of an object. Associative lists have no duplicates, which
// validation refuses.
func genSpec(t *rapid.T, label string) map[string]any {
	words := rapid.SampledFrom([]string{"a", "b", "c"})
	spec := map[string]any{}
	maybe := func(name string, draw func() any) {
		if rapid.Bool().Draw(t, label+name) {
			spec[name] = draw()
		}
	}
	stringMap := func(name string) map[string]any {
		m := map[string]any{}
		for _, k := range rapid.SliceOfNDistinct(words, 0, 3, rapid.ID).Draw(t, label+name) {
			m[k] = words.Draw(t, label+name+k)
		}
		return m
	}
	list := func(name string) []any {
		out := []any{}
		for _, w := range rapid.SliceOfNDistinct(words, 0, 3, rapid.ID).Draw(t, label+name) {
			out = append(out, w)
		}
		return out
	}
	maybe("text", func() any { return words.Draw(t, label+"text") })
	maybe("number", func() any { return int64(rapid.IntRange(0, 2).Draw(t, label+"number")) })
	maybe("atomicMap", func() any { return stringMap("atomicMap") })
	maybe("atomicList", func() any { return list("atomicList") })
	maybe("set", func() any { return list("set") })
	maybe("any", func() any {
		return map[string]any{"deep": stringMap("any"), "list": list("anylist")}
	})
	maybe("items", func() any {
		out := []any{}
		for _, n := range list("items") {
			item := map[string]any{"name": n}
			if rapid.Bool().Draw(t, label+"port") {
				item["port"] = int64(rapid.IntRange(80, 81).Draw(t, label+"portnumber"))
			}
			if rapid.Bool().Draw(t, label+"value") {
				item["value"] = words.Draw(t, label+"itemvalue")
			}
			if rapid.Bool().Draw(t, label+"more") {
				item["more"] = stringMap("more")
			}
			out = append(out, item)
		}
		return out
	})
	return spec
}

func genObject(t *rapid.T, label string) map[string]any {
	o := map[string]any{"apiVersion": "test.dev/v1", "kind": "Object", "metadata": map[string]any{"name": "o", "uid": "u"}}
	if rapid.Bool().Draw(t, label+"labels") {
		m := map[string]any{}
		for _, k := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"x", "y"}), 0, 2, rapid.ID).Draw(t, label+"labelkeys") {
			m[k] = "v"
		}
		o["metadata"].(map[string]any)["labels"] = m
	}
	if rapid.Bool().Draw(t, label+"spec") {
		o["spec"] = genSpec(t, label+"spec.")
	}
	if rapid.Bool().Draw(t, label+"status") {
		o["status"] = genSpec(t, label+"status.")
	}
	return o
}

// facts are managed fields by manager, in a form that compares.
func facts(t *rapid.T, entries []entry) map[string]string {
	out := map[string]string{}
	for _, e := range entries {
		s, err := set(e.fields)
		if err != nil {
			t.Fatalf("%s: %v", e.fields, err)
		}
		text, err := s.ToJSON()
		if err != nil {
			t.Fatal(err)
		}
		out[e.manager+"/"+e.operation] = string(text)
	}
	return out
}

// TestTrackingIsUpstreams makes random objects and updates by several managers, tracks
// them here and with upstream's field manager, and compares who owns what.
func TestTrackingIsUpstreams(t *testing.T) {
	for _, status := range []bool{false, true} {
		ours, theirs := testType(t, status)
		t.Run(fmt.Sprintf("status=%t", status), func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) { follow(t, ours, theirs) })
		})
	}
}

func follow(t *rapid.T, ours *Type, theirs *upstream.FieldManager) {
	w := Writer{Manager: "m0", APIVersion: "test.dev/v1", Time: "2026-01-02T03:04:05Z"}
	cur := genObject(t, "create.")
	live := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "test.dev/v1", "kind": "Object"}}
	managed := ours.Create(cur, nil, w)
	obj := theirs.UpdateNoErrors(live, &unstructured.Unstructured{Object: jsontree.CopyMap(cur)}, w.Manager).(*unstructured.Unstructured)
	compare(t, "create", managed, obj.GetManagedFields())
	for i := range 3 {
		w.Manager = fmt.Sprintf("m%d", rapid.IntRange(0, 2).Draw(t, "manager"))
		next := genObject(t, fmt.Sprintf("update%d.", i))
		var err error
		if rapid.IntRange(0, 3).Draw(t, "apply") == 0 {
			next = map[string]any{"apiVersion": "test.dev/v1", "kind": "Object", "metadata": map[string]any{"name": "o"}, "spec": genSpec(t, "apply.")}
			config := jsontree.CopyMap(next)
			var tree map[string]any
			tree, managed, err = ours.Apply(testGVK, cur, managed, next, w, true)
			if err != nil {
				t.Skip("an apply that upstream refuses")
			}
			out, err := theirs.Apply(obj, &unstructured.Unstructured{Object: config}, w.Manager, true)
			if err != nil {
				t.Fatal(err)
			}
			obj = out.(*unstructured.Unstructured)
			cur = tree
			compare(t, "apply", managed, obj.GetManagedFields())
			continue
		}
		if managed, err = ours.Update(cur, next, managed, nil, w); err != nil {
			t.Fatal(err)
		}
		obj = theirs.UpdateNoErrors(obj, &unstructured.Unstructured{Object: jsontree.CopyMap(next)}, w.Manager).(*unstructured.Unstructured)
		cur = next
		compare(t, "update", managed, obj.GetManagedFields())
	}
}

func compare(t *rapid.T, what string, managed []byte, theirs []metav1.ManagedFieldsEntry) {
	if len(managed) > 0 && !json.Valid(managed) {
		t.Fatalf("%s: not JSON: %s", what, managed)
	}
	mine, err := parse(managed)
	if err != nil {
		t.Fatal(err)
	}
	a, b := facts(t, mine), facts(t, fromAPI(theirs))
	if !reflect.DeepEqual(a, b) {
		t.Fatalf("%s:\nours   %v\ntheirs %v", what, a, b)
	}
}

func TestManyUpdatersBecomeOne(t *testing.T) {
	ours, _ := testType(t, false)
	obj := map[string]any{"metadata": map[string]any{}, "spec": map[string]any{"any": map[string]any{}}}
	managed := ours.Create(obj, nil, Writer{Manager: "m", APIVersion: "test.dev/v1", Time: "2026-01-02T03:00:00Z"})
	for i := range 15 {
		next := jsontree.CopyMap(obj)
		next["spec"].(map[string]any)["any"].(map[string]any)[fmt.Sprintf("k%d", i)] = "v"
		var err error
		managed, err = ours.Update(obj, next, managed, nil, Writer{Manager: fmt.Sprintf("m%d", i), APIVersion: "test.dev/v1", Time: fmt.Sprintf("2026-01-02T03:00:%02dZ", i+1)})
		if err != nil {
			t.Fatal(err)
		}
		obj = next
	}
	entries, err := parse(managed)
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, e := range entries {
		names[e.manager] = true
	}
	if len(entries) != maxUpdateManagers || !names[ancient] || !names["m14"] || names["m1"] {
		t.Errorf("%d managers: %v", len(entries), names)
	}
}
