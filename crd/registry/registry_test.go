package registry_test

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	runtimeschema "k8s.io/apimachinery/pkg/runtime/schema"
	"pgregory.net/rapid"

	"github.com/pintle-dev/pintle/crd"
	"github.com/pintle-dev/pintle/crd/registry"
	"github.com/pintle-dev/pintle/crd/schema"
)

func definition(group, plural, kind string, versions ...string) *crd.Definition {
	d := &crd.Definition{
		Group: group, Scope: crd.NamespaceScoped, Source: "plugin:test",
		Names: crd.Names{Plural: plural, Singular: strings.ToLower(kind), Kind: kind, ListKind: kind + "List"},
	}
	for i, v := range versions {
		d.Versions = append(d.Versions, crd.Version{
			Name: v, Served: true, Storage: i == 0,
			Schema: func() (*schema.Schema, error) { return &schema.Schema{Type: "object"}, nil },
		})
	}
	return d
}

func TestRegisterRefuses(t *testing.T) {
	taken := definition("example.com", "widgets", "Widget", "v1")
	taken.Names.ShortNames = []string{"wd"}
	taken.Source = "crd:widgets.example.com"
	tests := []struct {
		name     string
		d        func() *crd.Definition
		conflict bool
		want     string
	}{
		{"same resource", func() *crd.Definition { return definition("example.com", "widgets", "Other", "v1") }, true, "registered already, by widgets.example.com (crd:widgets.example.com)"},
		{"same kind", func() *crd.Definition { return definition("example.com", "gadgets", "Widget", "v1") }, true, `names.singular "widget": name is taken by widgets.example.com`},
		{"list kind", func() *crd.Definition { return definition("example.com", "gadgets", "WidgetList", "v1") }, true, `names.kind "WidgetList": name is taken`},
		{"short name", func() *crd.Definition {
			d := definition("example.com", "gadgets", "Gadget", "v1")
			d.Names.ShortNames = []string{"wd"}
			return d
		}, true, `names.shortNames "wd": name is taken`},
		{"other group", func() *crd.Definition { return definition("example.org", "widgets", "Widget", "v1") }, false, ""},
		{"no plural", func() *crd.Definition { return definition("example.com", "", "Gadget", "v1") }, false, "names.plural"},
		{"no kind", func() *crd.Definition { return definition("example.com", "gadgets", "", "v1") }, false, "names.kind: required"},
		{"no version", func() *crd.Definition { return definition("example.com", "gadgets", "Gadget") }, false, "versions: at least one"},
		{"version twice", func() *crd.Definition { return definition("example.com", "gadgets", "Gadget", "v1", "v1") }, false, `versions[1].name: "v1" occurs twice`},
		{"no storage", func() *crd.Definition {
			d := definition("example.com", "gadgets", "Gadget", "v1")
			d.Versions[0].Storage = false
			return d
		}, false, "exactly one must have storage set, 0 have"},
		{"virtual without storage", func() *crd.Definition {
			d := definition("example.com", "gadgets", "Gadget", "v1")
			d.Versions[0].Storage, d.Virtual = false, true
			return d
		}, false, ""},
		{"scope", func() *crd.Definition {
			d := definition("example.com", "gadgets", "Gadget", "v1")
			d.Scope = "Galaxy"
			return d
		}, false, `scope: "Galaxy"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := registry.New()
			if err := r.Register(taken); err != nil {
				t.Fatal(err)
			}
			err := r.Register(tt.d())
			if tt.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %s", err, tt.want)
			}
			if errors.Is(err, registry.ErrConflict) != tt.conflict {
				t.Errorf("ErrConflict: %v", err)
			}
		})
	}
}

func TestSnapshot(t *testing.T) {
	r := registry.New()
	for _, d := range []*crd.Definition{
		definition("example.com", "widgets", "Widget", "v1beta1", "v2", "v1", "v10", "v2alpha1"),
		definition("example.com", "gadgets", "Gadget", "v1"),
		definition("apps", "deployments", "Deployment", "v1"),
		definition("", "pods", "Pod", "v1"),
	} {
		if err := r.Register(d); err != nil {
			t.Fatal(err)
		}
	}
	s := r.Snapshot()
	var got []string
	for _, g := range s.Groups {
		for _, v := range g.Versions {
			for _, typ := range v.Types {
				got = append(got, g.Name+"/"+v.Version+"/"+typ.GVR.Resource)
			}
		}
	}
	want := []string{"/v1/pods", "apps/v1/deployments", "example.com/v10/widgets", "example.com/v2/widgets", "example.com/v1/gadgets", "example.com/v1/widgets", "example.com/v1beta1/widgets", "example.com/v2alpha1/widgets"}
	if !slices.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	typ, ok := s.LookupKind(runtimeschema.GroupVersionKind{Group: "example.com", Version: "v2", Kind: "Widget"})
	if !ok || typ.Bucket != "widgets.example.com" || typ.ListGVK().Kind != "WidgetList" {
		t.Errorf("got %+v", typ)
	}
	if storage, ok := s.Storage(runtimeschema.GroupResource{Group: "example.com", Resource: "widgets"}); !ok || storage.GVR.Version != "v1beta1" {
		t.Errorf("storage type %+v", storage)
	}
	if g, ok := s.Group("apps"); !ok || len(g.Versions) != 1 {
		t.Errorf("group %+v", g)
	}
	if pods, _ := r.Lookup(runtimeschema.GroupVersionResource{Version: "v1", Resource: "pods"}); pods == nil || pods.Bucket != "pods" {
		t.Errorf("pods %+v", pods)
	}
	shared := definition("events.k8s.io", "events", "Event", "v1")
	shared.Bucket = "events"
	if registry.Bucket(shared) != "events" {
		t.Error("a definition's own bucket is not used")
	}
}

func TestChanges(t *testing.T) {
	r := registry.New()
	changed, cancel := r.Subscribe()
	signalled := func() bool {
		select {
		case <-changed:
			return true
		default:
			return false
		}
	}
	if err := r.Register(definition("example.com", "widgets", "Widget", "v1")); err != nil {
		t.Fatal(err)
	}
	before := r.Snapshot()
	if !signalled() || signalled() {
		t.Error("a change is not signalled once")
	}
	gvr := runtimeschema.GroupVersionResource{Group: "example.com", Version: "v1", Resource: "widgets"}
	kept := mustLookup(t, r, gvr)
	if err := r.Register(definition("example.com", "gadgets", "Gadget", "v1")); err != nil {
		t.Fatal(err)
	}
	if mustLookup(t, r, gvr) != kept {
		t.Error("a type is made anew by a change of another")
	}
	if err := r.Replace(definition("example.com", "widgets", "Widget", "v1", "v2")); err != nil {
		t.Fatal(err)
	}
	if mustLookup(t, r, gvr) == kept {
		t.Error("a replaced definition keeps its type")
	}
	if err := r.Replace(definition("example.com", "widgets", "Gadget", "v1")); !errors.Is(err, registry.ErrConflict) {
		t.Errorf("got %v", err)
	}
	if _, ok := r.Lookup(gvr.GroupResource().WithVersion("v2")); !ok {
		t.Error("a refused replacement has removed the old definition")
	}
	if !r.Remove(gvr.GroupResource()) || r.Remove(gvr.GroupResource()) {
		t.Error("removing reports wrongly")
	}
	if _, ok := r.Lookup(gvr); ok {
		t.Error("a removed type is found")
	}
	if _, ok := before.Lookup(gvr); !ok || before.Generation >= r.Snapshot().Generation {
		t.Error("a snapshot has changed")
	}
	signalled()
	cancel()
	r.Remove(runtimeschema.GroupResource{Group: "example.com", Resource: "gadgets"})
	if signalled() {
		t.Error("signalled after cancel")
	}
}

func mustLookup(t *testing.T, r *registry.Registry, gvr runtimeschema.GroupVersionResource) *registry.Type {
	t.Helper()
	typ, ok := r.Lookup(gvr)
	if !ok {
		t.Fatalf("%s is not found", gvr)
	}
	return typ
}

// Whatever is registered, replaced and removed, the registry is a map that refuses
// duplicate kinds within a group.
func TestRegistryIsAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := registry.New()
		model := map[string]string{} // plural -> kind
		plurals, kinds := []string{"as", "bs", "cs"}, []string{"A", "B", "C"}
		t.Repeat(map[string]func(*rapid.T){
			"put": func(t *rapid.T) {
				plural, kind := rapid.SampledFrom(plurals).Draw(t, "plural"), rapid.SampledFrom(kinds).Draw(t, "kind")
				replace := rapid.Bool().Draw(t, "replace")
				d := definition("g.example.com", plural, kind, "v1")
				var err error
				if replace {
					err = r.Replace(d)
				} else {
					err = r.Register(d)
				}
				want := replace || model[plural] == ""
				for p, k := range model {
					want = want && (p == plural || k != kind)
				}
				if (err == nil) != want {
					t.Fatalf("put %s %s over %v: %v", plural, kind, model, err)
				}
				if err == nil {
					model[plural] = kind
				}
			},
			"remove": func(t *rapid.T) {
				plural := rapid.SampledFrom(plurals).Draw(t, "plural")
				if r.Remove(runtimeschema.GroupResource{Group: "g.example.com", Resource: plural}) != (model[plural] != "") {
					t.Fatalf("remove %s from %v", plural, model)
				}
				delete(model, plural)
			},
			"": func(t *rapid.T) {
				for _, plural := range plurals {
					typ, ok := r.Lookup(runtimeschema.GroupVersionResource{Group: "g.example.com", Version: "v1", Resource: plural})
					if ok != (model[plural] != "") || (ok && typ.GVK.Kind != model[plural]) {
						t.Fatalf("%s: got %v, want %q", plural, typ, model[plural])
					}
				}
			},
		})
	})
}

func TestConcurrentUse(t *testing.T) {
	r := registry.New()
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for j := range 50 {
				d := definition("example.com", fmt.Sprintf("w%dx%d", i, j), fmt.Sprintf("W%dx%d", i, j), "v1")
				if err := r.Register(d); err != nil {
					t.Error(err)
				}
				typ, ok := r.Lookup(d.GroupResource().WithVersion("v1"))
				if !ok {
					t.Errorf("%s is not there after Register", d.Names.Plural)
					return
				}
				if _, err := typ.Compiled(); err != nil {
					t.Error(err)
				}
				r.Snapshot()
			}
		})
	}
	wg.Wait()
	if n := len(r.Snapshot().Groups[0].Versions[0].Types); n != 200 {
		t.Errorf("%d types", n)
	}
}

func TestCompiledErrors(t *testing.T) {
	d := definition("example.com", "widgets", "Widget", "v1", "v2", "v3")
	d.Versions[0].Schema = func() (*schema.Schema, error) { return nil, errors.New("torn file") }
	d.Versions[1].Schema = func() (*schema.Schema, error) { return &schema.Schema{Type: "strnig"}, nil }
	d.Versions[2].Schema = nil
	r := registry.New()
	if err := r.Register(d); err != nil {
		t.Fatal(err)
	}
	for version, want := range map[string]string{"v1": "schema of example.com/v1, Widget: torn file", "v2": `type: "strnig"`} {
		_, err := mustLookup(t, r, d.GroupResource().WithVersion(version)).Compiled()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", version, err, want)
		}
	}
	c, err := mustLookup(t, r, d.GroupResource().WithVersion("v3")).Compiled()
	if err != nil {
		t.Fatal(err)
	}
	if unknown := c.Prune(map[string]any{"spec": map[string]any{"a": int64(1)}}); len(unknown) > 0 {
		t.Errorf("a type without a schema loses %v", unknown)
	}
}

// Types are compiled when they are used, and what was compiled goes with the definition.
func TestMemoryIsFreed(t *testing.T) {
	r := registry.New()
	parsed := 0
	freed := make(chan struct{})
	func() {
		d := definition("example.com", "widgets", "Widget", "v1")
		d.Versions[0].Schema = func() (*schema.Schema, error) {
			parsed++
			return &schema.Schema{Type: "object"}, nil
		}
		if err := r.Register(d); err != nil {
			t.Fatal(err)
		}
		if parsed != 0 {
			t.Error("the schema is parsed by Register")
		}
		typ := mustLookup(t, r, d.GroupResource().WithVersion("v1"))
		var held []*schema.Compiled // all get the same as long as somebody holds it
		defer func() { runtime.KeepAlive(held) }()
		for range 2 {
			c, err := typ.Compiled()
			if err != nil {
				t.Fatal(err)
			}
			held = append(held, c)
			if parsed == 1 {
				runtime.AddCleanup(c, func(c chan struct{}) {
					select {
					case <-c:
					default:
						close(c)
					}
				}, freed)
			}
		}
		if parsed != 1 {
			t.Errorf("parsed %d times", parsed)
		}
		r.Remove(d.GroupResource())
		r.Snapshot()
	}()
	for range 100 {
		runtime.GC()
		select {
		case <-freed:
			return
		default:
			runtime.Gosched()
		}
	}
	t.Error("a removed type's compiled schema is not freed")
}
