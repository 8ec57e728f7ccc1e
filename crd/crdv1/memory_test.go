package crdv1_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"

	"github.com/pintle-dev/pintle/crd/crdv1"
	"github.com/pintle-dev/pintle/crd/registry"
)

// bigWidget has some 500 described fields: about 60 KB as JSON, more than most have.
func bigWidget(i int) *apiextensionsv1.CustomResourceDefinition {
	c := widget()
	c.Spec.Names = apiextensionsv1.CustomResourceDefinitionNames{Plural: fmt.Sprintf("widget%ds", i), Kind: fmt.Sprintf("Widget%d", i)}
	c.Name = c.Spec.Names.Plural + "." + c.Spec.Group
	spec := apiextensionsv1.JSONSchemaProps{Type: "object", Properties: map[string]apiextensionsv1.JSONSchemaProps{}}
	for a := range 25 {
		group := apiextensionsv1.JSONSchemaProps{Type: "object", Properties: map[string]apiextensionsv1.JSONSchemaProps{}}
		for b := range 20 {
			group.Properties[fmt.Sprintf("field%d", b)] = apiextensionsv1.JSONSchemaProps{
				Type:        "string",
				Description: fmt.Sprintf("Field %d of group %d of widget %d says how much of it there is to be. ", b, a, i) + strings.Repeat("More text. ", b%4),
			}
		}
		spec.Properties[fmt.Sprintf("group%d", a)] = group
	}
	c.Spec.Versions[0].Schema.OpenAPIV3Schema.Properties["spec"] = spec
	crdv1.SetDefaults(c)
	return c
}

// A thousand registered definitions that nobody uses must stay under 50 MiB; a few of them
// are enough to tell.
func TestManyDefinitions(t *testing.T) {
	heap := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	r := registry.New()
	before := heap()
	for i := range 40 {
		d, err := crdv1.FromCRD(bigWidget(i))
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Register(d); err != nil {
			t.Fatal(err)
		}
	}
	snapshot := r.Snapshot()
	used := int64(heap()) - int64(before)
	t.Logf("%d KiB for 40 definitions", used>>10)
	if used > 2<<20 {
		t.Errorf("40 definitions take %d KiB, want at most 2 MiB", used>>10)
	}
	runtime.KeepAlive(snapshot)
	typ := snapshot.Groups[0].Versions[0].Types[20]
	if _, err := typ.Compiled(); err != nil {
		t.Error(err)
	}
}

func TestWarnings(t *testing.T) {
	c, old := widget(), widget()
	spec := c.Spec.Versions[0].Schema.OpenAPIV3Schema.Properties["spec"]
	spec.Properties = map[string]apiextensionsv1.JSONSchemaProps{
		"a": {Type: "string", Format: "ipv4"}, "b": {Type: "string", Format: "nonsense"}, "c": {Type: "integer", Format: "int16"},
	}
	c.Spec.Versions[0].Schema.OpenAPIV3Schema.Properties["spec"] = spec
	want := `unrecognized format "int16", unrecognized format "nonsense"`
	if got := strings.Join(crdv1.Warnings(c, old), ", "); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got := crdv1.Warnings(c, c); len(got) > 0 {
		t.Errorf("told again: %v", got)
	}
}
