package schema_test

import (
	"bytes"
	"encoding/json"
	"os"
	"slices"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"k8s.io/kube-openapi/pkg/validation/spec"
	"pgregory.net/rapid"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/pintle-dev/pintle/crd/schema"
)

// The expected fields are those that kube-apiserver 1.36 noted for an apply of the pod.
func TestAppliedFieldsOfPod(t *testing.T) {
	c := compileBuiltin(t, "io.k8s.api.core.v1.Pod", "Pod")
	object := podTree(t)
	object["metadata"].(map[string]any)["finalizers"] = []any{"example.com/keep"}
	got := fieldSet(t, c, object)
	// Fields that identify an object are not managed.
	for _, path := range []fieldpath.Path{
		fieldpath.MakePathOrDie("apiVersion"), fieldpath.MakePathOrDie("kind"), fieldpath.MakePathOrDie("metadata"),
		fieldpath.MakePathOrDie("metadata", "name"), fieldpath.MakePathOrDie("metadata", "namespace"),
	} {
		got = got.Difference(fieldpath.NewSet(path))
	}
	golden, err := os.ReadFile("testdata/pod-applied-fields.json")
	if err != nil {
		t.Fatal(err)
	}
	want := &fieldpath.Set{}
	if err := want.FromJSON(bytes.NewReader(golden)); err != nil {
		t.Fatal(err)
	}
	if !got.Equals(want) {
		t.Errorf("too many: %s\nmissing: %s", got.Difference(want), want.Difference(got))
	}
}

func fieldSet(t fatal, c *schema.Compiled, object map[string]any) *fieldpath.Set {
	typ, err := c.Typed()
	must(t, err)
	v, err := typ.FromUnstructured(object)
	must(t, err)
	set, err := v.ToFieldSet()
	must(t, err)
	return set
}

// A custom resource's fields are those that upstream derives from its OpenAPI.
func TestFieldsAreUpstreams(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rootSchema(t)
		c, err := schema.Compile(s)
		must(t, err)
		object := anyObject(t)
		c.Prune(object)
		model := s.OpenAPIV3("#/components/schemas/")
		model.AddExtension("x-kubernetes-group-version-kind", []any{map[string]any{"group": "example.com", "version": "v1", "kind": "Thing"}})
		model.Properties["apiVersion"] = *spec.StringProperty()
		model.Properties["kind"] = *spec.StringProperty()
		theirs, err := managedfields.NewTypeConverter(map[string]*spec.Schema{"Thing": model}, false)
		must(t, err)
		typ, err := c.Typed()
		must(t, err)
		mine, err := typ.FromUnstructured(object)
		want, wantErr := theirs.ObjectToTyped(&unstructured.Unstructured{Object: object})
		if (err != nil) != (wantErr != nil) {
			t.Fatalf("schema %s\nobject %s\ngot error %v\nwant %v", mustJSON(s), mustJSON(object), err, wantErr)
		}
		if err != nil {
			return
		}
		mineSet, err := mine.ToFieldSet()
		must(t, err)
		wantSet, err := want.ToFieldSet()
		must(t, err)
		if !mineSet.Equals(wantSet) {
			t.Fatalf("schema %s\nobject %s\ngot  %s\nwant %s", mustJSON(s), mustJSON(object), mineSet, wantSet)
		}
	})
}

func TestStrategicMergePatch(t *testing.T) {
	pod := compileBuiltin(t, "io.k8s.api.core.v1.Pod", "Pod")
	deployment := compileBuiltin(t, "io.k8s.api.apps.v1.Deployment", "Deployment")
	original := podTree(t)
	template := map[string]any{
		"apiVersion": "apps/v1", "kind": "Deployment",
		"spec": map[string]any{"strategy": map[string]any{"type": "RollingUpdate", "rollingUpdate": map[string]any{"maxSurge": int64(1)}}},
	}
	tests := []struct {
		name   string
		c      *schema.Compiled
		goType any
		object map[string]any
		patch  string
	}{
		{"merge containers by name", pod, &corev1.Pod{}, original, `{"spec":{"containers":[{"name":"web","image":"web:2","env":[{"name":"MODE","value":"test"},{"name":"NEW","value":"1"}]}]}}`},
		{"delete a volume", pod, &corev1.Pod{}, original, `{"spec":{"volumes":[{"name":"tmp","$patch":"delete"}]}}`},
		{"retain keys of a volume", pod, &corev1.Pod{}, original, `{"spec":{"volumes":[{"name":"tmp","$retainKeys":["name","hostPath"],"hostPath":{"path":"/x"}}]}}`},
		{"atomic list", pod, &corev1.Pod{}, original, `{"spec":{"tolerations":[{"key":"other"}]}}`},
		{"labels", pod, &corev1.Pod{}, original, `{"metadata":{"labels":{"tier":null,"new":"x"}}}`},
		{"finalizers", pod, &corev1.Pod{}, original, `{"metadata":{"finalizers":["a/b"],"$setElementOrder/finalizers":["a/b"]}}`},
		{"element order", pod, &corev1.Pod{}, original, `{"spec":{"$setElementOrder/containers":[{"name":"sidecar"},{"name":"web"}]}}`},
		{"strategy", deployment, &appsv1.Deployment{}, template, `{"spec":{"strategy":{"$retainKeys":["type"],"type":"Recreate"}}}`},
		{"container in template", deployment, &appsv1.Deployment{}, template, `{"spec":{"template":{"spec":{"containers":[{"name":"a","image":"b"}]}}}}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			patch := tree(t, tt.patch)
			meta, err := strategicpatch.NewPatchMetaFromStruct(tt.goType)
			if err != nil {
				t.Fatal(err)
			}
			want, err := strategicpatch.StrategicMergeMapPatchUsingLookupPatchMeta(copyTree(tt.object), copyTree(patch), meta)
			if err != nil {
				t.Fatal(err)
			}
			got, err := strategicpatch.StrategicMergeMapPatchUsingLookupPatchMeta(copyTree(tt.object), copyTree(patch), tt.c.PatchMeta())
			if err != nil {
				t.Fatal(err)
			}
			if !equalJSON(got, want) {
				t.Errorf("got  %s\nwant %s", mustJSON(got), mustJSON(want))
			}
		})
	}
	t.Run("unknown field", func(t *testing.T) {
		if _, _, err := pod.PatchMeta().LookupPatchMetadataForStruct("nonsense"); err == nil {
			t.Error("a field that does not exist has patch metadata")
		}
	})
}

func copyTree(v map[string]any) map[string]any {
	var out map[string]any
	b, _ := json.Marshal(v)
	_ = json.Unmarshal(b, &out)
	return out
}

func TestOpenAPI(t *testing.T) {
	s := parseSchema(t, `{"type":"object","description":"A thing.","required":["spec"],"properties":{
		"spec":{"type":"object","nullable":true,"x-kubernetes-map-type":"atomic","properties":{
			"size":{"type":"integer","format":"int32","minimum":1,"default":3},
			"mode":{"type":"string","enum":["a","b"]},
			"keys":{"type":"array","x-kubernetes-list-type":"map","x-kubernetes-list-map-keys":["k"],"items":{"type":"object","properties":{"k":{"type":"string"}}}},
			"ref":{"$ref":"io.k8s.api.core.v1.PodSpec","description":"A pod.","default":{}},
			"bare":{"$ref":"io.k8s.api.core.v1.PodSpec"},
			"port":{"x-kubernetes-int-or-string":true,"anyOf":[{"type":"integer"},{"type":"string"}]}}}}}`)
	const want3 = `{"description":"A thing.","type":"object","required":["spec"],"properties":{"spec":{"type":"object","nullable":true,"properties":{` +
		`"bare":{"$ref":"#/components/schemas/io.k8s.api.core.v1.PodSpec"},` +
		`"keys":{"type":"array","items":{"type":"object","properties":{"k":{"type":"string"}}},"x-kubernetes-list-map-keys":["k"],"x-kubernetes-list-type":"map"},` +
		`"mode":{"type":"string","enum":["a","b"]},` +
		`"port":{"anyOf":[{"type":"integer"},{"type":"string"}],"x-kubernetes-int-or-string":true},` +
		`"ref":{"description":"A pod.","default":{},"allOf":[{"$ref":"#/components/schemas/io.k8s.api.core.v1.PodSpec"}]},` +
		`"size":{"type":"integer","format":"int32","default":3,"minimum":1}},"x-kubernetes-map-type":"atomic"}}}`
	if got := mustJSON(s.OpenAPIV3("#/components/schemas/")); !sameJSON(t, got, want3) {
		t.Errorf("v3: got  %s\nwant %s", got, want3)
	}
	two := s.OpenAPIV2("#/definitions/")
	if ref := two.Properties["spec"]; ref.Nullable || len(ref.Type) > 0 {
		t.Errorf("v2: a nullable field has a type: %s", mustJSON(two))
	}
	if got := s.References(); !slices.Equal(got, []string{"io.k8s.api.core.v1.PodSpec"}) {
		t.Errorf("references %v", got)
	}
	meta := s.WithMeta()
	if meta.Properties["metadata"].Ref != "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta" || meta.Properties["kind"].Type != "string" {
		t.Errorf("WithMeta: %s", mustJSON(meta))
	}
	if s.Properties["metadata"] != nil {
		t.Error("WithMeta changed the schema")
	}
	for _, name := range schema.MetaComponentNames() {
		if schema.MetaComponents().Get(name) == nil {
			t.Errorf("no component %s", name)
		}
	}
}

func sameJSON(t *testing.T, a, b string) bool {
	t.Helper()
	return equalJSON(tree(t, a), tree(t, b))
}
