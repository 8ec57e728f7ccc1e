package kubeapi_test

import (
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	runtimeschema "k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/pintle-dev/pintle/crd"
	"github.com/pintle-dev/pintle/plugins/kubeapi"
	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/tree"
	"github.com/pintle-dev/pintle/sdk/resource"
	"github.com/pintle-dev/pintle/test/golden"
)

func TestBundleRegisters(t *testing.T) {
	r, err := newRegistry()
	if err != nil {
		t.Fatal(err)
	}
	definitions, err := bundle.Definitions()
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range definitions {
		for i := range d.Versions {
			v := &d.Versions[i]
			typ, ok := r.Lookup(runtimeschema.GroupVersionResource{Group: d.Group, Version: v.Name, Resource: d.Names.Plural})
			if !ok {
				t.Errorf("%s: not in the registry", d.GroupResource())
				continue
			}
			if _, err := typ.Compiled(); err != nil {
				t.Errorf("%s: %v", d.GroupResource(), err)
			}
			for _, kind := range []string{d.Names.Kind, d.Names.ListKind} {
				if d.Group == "apiregistration.k8s.io" {
					continue // not among k8s.io/api
				}
				if o, ok := kubeapi.GoType(typ.GVK.GroupVersion().WithKind(kind)); !ok || reflect.TypeOf(o).Elem().Name() != kind {
					t.Errorf("%s: no Go type of %s", d.GroupResource(), kind)
				}
			}
			p, ok := bundle.Hooks(d.GroupResource()).(resource.Printer)
			if !ok {
				t.Errorf("%s: prints nothing", d.GroupResource())
				continue
			}
			if cells := p.Cells(map[string]any{}); len(cells) != len(v.Columns) {
				t.Errorf("%s: %d cells for %d columns", d.GroupResource(), len(cells), len(v.Columns))
			}
		}
	}
}

// TestResourcesAreUpstreams compares names, verbs and subresources with the discovery of a
// kube-apiserver, as it was recorded.
func TestResourcesAreUpstreams(t *testing.T) {
	definitions, err := bundle.Definitions()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, d := range definitions {
		v := &d.Versions[0]
		verbs := v.Verbs
		if len(verbs) == 0 {
			verbs = []string{"create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"}
		}
		key := d.Group + "/" + v.Name + "/" + d.Names.Plural
		got[key] = describe(d.Names.Kind, d.Namespaced(), verbs, d.Names.ShortNames, d.Names.Categories)
		if v.Status {
			got[key+"/status"] = describe(d.Names.Kind, d.Namespaced(), []string{"get", "patch", "update"}, nil, nil)
		}
		if v.Scale != nil {
			got[key+"/scale"] = describe("Scale", d.Namespaced(), []string{"get", "patch", "update"}, nil, nil)
		}
		for _, s := range v.Subresources {
			got[key+"/"+s.Name] = describe(s.Kind, d.Namespaced(), s.Verbs, nil, nil)
		}
	}
	if *record != "" {
		recordResources(t, definitions)
	}
	want := map[string]string{}
	golden.Load(t, "resources.expected.yaml", &want)
	for _, key := range slices.Sorted(maps.Keys(want)) {
		if got[key] != want[key] {
			t.Errorf("%s: %q, want %q", key, got[key], want[key])
		}
	}
	for key := range got {
		if _, ok := want[key]; !ok {
			t.Errorf("%s: upstream has no such resource", key)
		}
	}
}

func describe(kind string, namespaced bool, verbs, short, categories []string) string {
	scope := "Cluster"
	if namespaced {
		scope = "Namespaced"
	}
	return strings.Join([]string{kind, scope, strings.Join(verbs, ","), strings.Join(short, ","), strings.Join(categories, ",")}, " ")
}

func recordResources(t *testing.T, definitions []*crd.Definition) {
	t.Helper()
	want := map[string]string{}
	served := map[string]bool{}
	for _, d := range definitions {
		gv := d.Group + "/" + d.Versions[0].Name
		if served[gv] {
			continue
		}
		served[gv] = true
		path := "/apis/" + gv
		if d.Group == "" {
			path = "/api/" + d.Versions[0].Name
		}
		out, err := exec.Command("kubectl", "--kubeconfig", *record, "get", "--raw", path).Output()
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range tree.List(parse(t, string(out)), "resources") {
			o := tree.Object(v)
			want[gv+"/"+tree.Str(o, "name")] = describe(tree.Str(o, "kind"), tree.Bool(o, "namespaced"),
				tree.Strings(o, "verbs"), tree.Strings(o, "shortNames"), tree.Strings(o, "categories"))
		}
	}
	// Not offered: deprecated upstream.
	delete(want, "/v1/bindings")
	delete(want, "/v1/componentstatuses")
	golden.Save(t, "resources.expected.yaml", want)
}

// TestFixtures takes the objects of k8s.io/api's own tests, with every field set, through
// the schemas: none may be unknown, and decoding must not lose any.
func TestFixtures(t *testing.T) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "k8s.io/api").Output()
	if err != nil {
		t.Skip("no go command")
	}
	dir := filepath.Join(strings.TrimSpace(string(out)), "testdata", "HEAD")
	definitions, err := bundle.Definitions()
	if err != nil {
		t.Fatal(err)
	}
	r, err := newRegistry()
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range definitions {
		group := d.Group
		if group == "" {
			group = "core"
		}
		for i := range d.Versions {
			name := group + "." + d.Versions[i].Name + "." + d.Names.Kind
			t.Run(name, func(t *testing.T) {
				raw, err := os.ReadFile(filepath.Join(dir, name+".json"))
				if err != nil {
					t.Skip("no fixture")
				}
				o := parse(t, string(raw))
				typ, _ := r.Lookup(runtimeschema.GroupVersionResource{Group: d.Group, Version: d.Versions[i].Name, Resource: d.Names.Plural})
				compiled, err := typ.Compiled()
				if err != nil {
					t.Fatal(err)
				}
				before := clone(t, o)
				unknown, err := compiled.Normalize(o)
				if err != nil || len(unknown) > 0 {
					t.Fatalf("unknown fields %v, error %v", unknown, err)
				}
				goObject, _ := kubeapi.GoType(typ.GVK)
				if err := json.Unmarshal(raw, goObject); err != nil {
					t.Fatal(err)
				}
				again, err := json.Marshal(goObject)
				if err != nil {
					t.Fatal(err)
				}
				compare(t, "", without(o), without(parse(t, string(again))))
				compare(t, "", without(o), without(before))
			})
		}
	}
}

func without(o map[string]any) map[string]any {
	o = tree.CopyMap(o)
	delete(tree.Map(o, "metadata"), "managedFields")
	return o
}

func TestOptionsAreChecked(t *testing.T) {
	for _, tc := range []struct {
		name    string
		options kubeapi.Options
		want    string
	}{
		{"a CIDR that is none", kubeapi.Options{ServiceCIDRs: []string{"x"}}, "serviceCIDRs[0]"},
		{"two of one family", kubeapi.Options{ServiceCIDRs: []string{"10.0.0.0/16", "10.1.0.0/16"}}, "different address families"},
		{"three", kubeapi.Options{ServiceCIDRs: []string{"10.0.0.0/16", "fd00::/112", "10.1.0.0/16"}}, "have 3"},
		{"ports the wrong way round", kubeapi.Options{NodePortMin: 2, NodePortMax: 1}, "node ports 2-1"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := kubeapi.New(tc.options).Definitions()
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v does not say %q", err, tc.want)
			}
		})
	}
}
