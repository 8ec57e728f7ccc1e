package schemas_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	runtimeschema "k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/pintle-dev/pintle/crd/schema"
	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/gotypes"
	"github.com/pintle-dev/pintle/plugins/kubeapi/schemas"
)

// TestSchemasMatchTheGoTypes fails where the data is older than the k8s.io/api in go.mod:
// every field of every type must be in its component and nothing else.
func TestSchemasMatchTheGoTypes(t *testing.T) {
	seen := map[string]bool{}
	for _, gvk := range gotypes.Kinds() {
		o, _ := gotypes.New(gvk)
		checkType(t, reflect.TypeOf(o).Elem(), seen)
	}
	if len(seen) < 500 {
		t.Errorf("only %d components were reached", len(seen))
	}
}

func checkType(t *testing.T, typ reflect.Type, seen map[string]bool) {
	switch typ.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map:
		checkType(t, typ.Elem(), seen)
		return
	case reflect.Struct:
	default:
		return
	}
	m, ok := reflect.Zero(typ).Interface().(interface{ OpenAPIModelName() string })
	if !ok || seen[m.OpenAPIModelName()] {
		return
	}
	name := m.OpenAPIModelName()
	seen[name] = true
	s := schemas.Components().Get(name)
	if s == nil {
		t.Errorf("%s: no component", name)
		return
	}
	marshaler := reflect.TypeFor[json.Marshaler]()
	if typ.Implements(marshaler) || reflect.PointerTo(typ).Implements(marshaler) {
		return
	}
	fields := map[string]bool{}
	var collect func(reflect.Type)
	collect = func(typ reflect.Type) {
		for i := range typ.NumField() {
			f := typ.Field(i)
			tag, options, _ := strings.Cut(f.Tag.Get("json"), ",")
			if f.Anonymous && tag == "" && (strings.Contains(options, "inline") || options == "") {
				collect(f.Type)
				continue
			}
			if tag == "" || tag == "-" {
				continue
			}
			fields[tag] = true
			if s.Properties[tag] == nil {
				t.Errorf("%s.%s: no such field in the schema", name, tag)
			}
			checkType(t, f.Type, seen)
		}
	}
	collect(typ)
	for field := range s.Properties {
		if !fields[field] {
			t.Errorf("%s.%s: no such field in the Go type", name, field)
		}
	}
}

func TestReferencesResolve(t *testing.T) {
	seen := map[string]bool{}
	var walk func(from string, s *schema.Schema)
	walk = func(from string, s *schema.Schema) {
		if s == nil {
			return
		}
		if s.Ref != "" && !seen[s.Ref] {
			seen[s.Ref] = true
			target := schemas.Components().Get(s.Ref)
			if target == nil {
				t.Errorf("%s: $ref %s leads nowhere", from, s.Ref)
				return
			}
			walk(s.Ref, target)
		}
		walk(from, s.Items)
		walk(from, s.AdditionalProperties)
		for field, p := range s.Properties {
			walk(from+"."+field, p)
		}
	}
	for _, gvk := range gotypes.Kinds() {
		s, err := schemas.ForKind(gvk)
		if err != nil {
			t.Error(err)
			continue
		}
		walk(gvk.Kind, s)
	}
}

func TestComponentsCarryUpstreamsMarkers(t *testing.T) {
	get := func(component string, fields ...string) *schema.Schema {
		s := schemas.Components().Get(component)
		for _, f := range fields {
			if s == nil {
				return nil
			}
			s = s.Properties[f]
		}
		return s
	}
	container := get("io.k8s.api.core.v1.Container", "ports")
	if container.ListType != "map" || !reflect.DeepEqual(container.ListMapKeys, []string{"containerPort", "protocol"}) {
		t.Errorf("container ports: list type %q, keys %v", container.ListType, container.ListMapKeys)
	}
	if container.PatchStrategy != "merge" || container.PatchMergeKey != "containerPort" {
		t.Errorf("container ports: patch %q by %q", container.PatchStrategy, container.PatchMergeKey)
	}
	for _, tc := range []struct {
		component, field, want string
	}{
		{"io.k8s.api.core.v1.ContainerPort", "protocol", `"TCP"`},
		{"io.k8s.api.core.v1.PodSpec", "restartPolicy", `"Always"`},
		{"io.k8s.api.core.v1.PodSpec", "securityContext", `{}`},
		{"io.k8s.api.core.v1.Probe", "periodSeconds", `10`},
		{"io.k8s.api.core.v1.Container", "resources", `{}`},
		{"io.k8s.api.apps.v1.DeploymentSpec", "strategy", `{}`},
		{"io.k8s.api.apps.v1.DeploymentSpec", "template", `{}`},
		{"io.k8s.api.core.v1.Pod", "apiVersion", ``},
	} {
		if got := string(get(tc.component, tc.field).Default); got != tc.want {
			t.Errorf("%s.%s: default %s, want %s", tc.component, tc.field, got, tc.want)
		}
	}
	if q := get("io.k8s.api.core.v1.ServicePort", "targetPort"); q.Ref != "io.k8s.apimachinery.pkg.util.intstr.IntOrString" {
		t.Errorf("targetPort: $ref %q", q.Ref)
	}
	if !get("io.k8s.apimachinery.pkg.util.intstr.IntOrString").IntOrString {
		t.Error("IntOrString is not int-or-string")
	}
}

func TestDescribe(t *testing.T) {
	const name = "io.k8s.api.core.v1.PodSpec"
	bare := schemas.Components().Get(name)
	full := schemas.Describe(name, bare)
	if full.Description == "" || full.Properties["containers"].Description == "" {
		t.Error("no descriptions")
	}
	if bare.Description != "" || bare.Properties["containers"].Description != "" {
		t.Error("the shared component was changed")
	}
	if got := schemas.Describe("io.example.Nothing", bare); got != bare {
		t.Error("an unknown component must come back unchanged")
	}
}

func TestForKindNamesWhatIsMissing(t *testing.T) {
	_, err := schemas.ForKind(runtimeschema.GroupVersionKind{Group: "x", Version: "v1", Kind: "Y"})
	if err == nil || !strings.Contains(err.Error(), "x/v1, Kind=Y") {
		t.Errorf("error %v does not name the kind", err)
	}
}

func BenchmarkParseAllOfPod(b *testing.B) {
	for b.Loop() {
		seen := map[string]bool{}
		var walk func(s *schema.Schema)
		walk = func(s *schema.Schema) {
			if s == nil {
				return
			}
			if s.Ref != "" && !seen[s.Ref] {
				seen[s.Ref] = true
				walk(schemas.Components().Get(s.Ref))
			}
			walk(s.Items)
			walk(s.AdditionalProperties)
			for _, p := range s.Properties {
				walk(p)
			}
		}
		s, err := schemas.ForKind(runtimeschema.GroupVersionKind{Version: "v1", Kind: "Pod"})
		if err != nil {
			b.Fatal(err)
		}
		walk(s)
	}
}
