package plugintest

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	runtimeschema "k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/pintle-dev/pintle/crd"
	"github.com/pintle-dev/pintle/crd/schema"
	"github.com/pintle-dev/pintle/sdk/plugin"
	"github.com/pintle-dev/pintle/sdk/remote"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// Bundle is a plugin that offers resource types.
type Bundle interface {
	plugin.Plugin
	resource.Bundle
}

// ResourceCase is a bundle of resource types to be held to the contract.
type ResourceCase struct {
	Case
	New func() Bundle
	// Valid objects, whole, with apiVersion and kind.
	Valid []map[string]any
	// Invalid objects by the path that a refusal must name, such as "spec.size".
	Invalid map[string]map[string]any
	// Reader is what hooks read from; none means that nothing else exists.
	Reader resource.Reader
}

// RunResource holds resource types to the contract: the definitions are whole, hooks
// admit what is valid and refuse what is not by the path of the field, defaulting twice
// changes nothing, what is converted to another version fits that and comes back as it was,
// and all of it is the same in the host's process and behind gRPC.
func RunResource(t *testing.T, c ResourceCase) {
	t.Helper()
	c.runBase(t, func(t testing.TB) *Harness { return Start(t, c.New()) })
	t.Run("definitions", func(t *testing.T) {
		defs, err := c.New().Definitions()
		if err != nil {
			t.Fatal(err)
		}
		if len(defs) == 0 {
			t.Error("there are none")
		}
		for _, d := range defs {
			checkDefinition(t, d)
		}
	})
	for name, bundle := range c.placements(t) {
		for i, object := range c.Valid {
			t.Run(fmt.Sprintf("%s/valid %d", name, i), func(t *testing.T) {
				once := c.admit(t, bundle, object, "")
				if again := c.admit(t, bundle, once, ""); !reflect.DeepEqual(once, again) {
					t.Errorf("what was admitted is changed when it is admitted again:\n%v\n%v", once, again)
				}
			})
		}
		for i, object := range c.Valid {
			t.Run(fmt.Sprintf("%s/conversion of %d", name, i), func(t *testing.T) { convertsBack(t, bundle, object) })
		}
		for path, object := range c.Invalid {
			t.Run(name+"/invalid "+path, func(t *testing.T) { c.admit(t, bundle, object, path) })
		}
	}
	t.Run("placements agree", func(t *testing.T) {
		p := c.placements(t)
		for i, object := range c.Valid {
			want := c.admit(t, p["builtin"], object, "")
			for place, b := range p {
				if got := c.admit(t, b, object, ""); !reflect.DeepEqual(got, want) {
					t.Errorf("valid object %d\nbuiltin: %v\n%s: %v", i, want, place, got)
				}
			}
		}
	})
}

// placements returns the bundle as each placement sees it.
func (c ResourceCase) placements(t *testing.T) map[string]resource.Bundle {
	t.Helper()
	direct := c.New()
	configure(t, direct, c.Settings)
	out := map[string]resource.Bundle{"builtin": direct}
	for place, start := range placements() {
		h := start(t, c.New())
		configure(t, h.Client, c.Settings)
		far := remote.NewBundle(h.Client.Info().Name, Patience)
		if _, _, err := far.Attach(t.Context(), h.Client); err != nil {
			t.Fatalf("attach: %v", err)
		}
		t.Cleanup(far.Detach)
		out[place] = far
	}
	return out
}

func checkDefinition(t *testing.T, d *crd.Definition) {
	t.Helper()
	name := d.GroupResource()
	n := d.Names
	if n.Plural == "" || n.Singular == "" || n.Kind == "" || n.ListKind == "" {
		t.Errorf("%s: names are not whole: %+v", name, n)
	}
	if d.Scope != crd.NamespaceScoped && d.Scope != crd.ClusterScoped {
		t.Errorf("%s: scope %q", name, d.Scope)
	}
	storage := 0
	for _, v := range d.Versions {
		if v.Storage {
			storage++
		}
		if v.Schema == nil {
			t.Errorf("%s: version %s has no schema", name, v.Name)
			continue
		}
		s, err := v.Schema()
		if err == nil {
			_, err = schema.Compile(s)
		}
		if err != nil {
			t.Errorf("%s: schema of version %s: %v", name, v.Name, err)
		}
	}
	if storage != 1 && !d.Virtual {
		t.Errorf("%s: %d versions are marked as storage, not one", name, storage)
	}
}

// admit passes an object through schema and hooks as an API server does on create. With a
// refusal it expects to be refused naming that path, else to be admitted.
func (c ResourceCase) admit(t *testing.T, b resource.Bundle, object map[string]any, refusal string) map[string]any {
	t.Helper()
	u := &unstructured.Unstructured{Object: runtime.DeepCopyJSON(object)}
	d, v := find(t, b, u.GroupVersionKind())
	s, err := v.Schema()
	if err != nil {
		t.Fatal(err)
	}
	compiled, err := schema.Compile(s)
	if err != nil {
		t.Fatal(err)
	}
	gvk := u.GroupVersionKind()
	r := &resource.Request{
		Operation: resource.Create, Resource: gvk.GroupVersion().WithResource(d.Names.Plural), Kind: gvk,
		Namespace: u.GetNamespace(), Name: u.GetName(), Object: u.Object,
		User: resource.User{Name: "tester"}, Reader: c.Reader,
	}
	if r.Reader == nil {
		r.Reader = nothing{}
	}
	err = pass(t.Context(), compiled, b.Hooks(d.GroupResource()), r)
	switch {
	case refusal == "" && err != nil:
		t.Fatalf("refused: %v", err)
	case refusal != "" && err == nil:
		t.Fatalf("admitted, though %s is wrong", refusal)
	case refusal != "" && !strings.Contains(err.Error(), refusal):
		t.Fatalf("the refusal does not name %s: %v", refusal, err)
	}
	return r.Object
}

func pass(ctx context.Context, compiled *schema.Compiled, hooks any, r *resource.Request) error {
	if unknown := compiled.Prune(r.Object); len(unknown) > 0 {
		return fmt.Errorf("unknown field %s", strings.Join(unknown, ", "))
	}
	compiled.Default(r.Object)
	if h, ok := hooks.(resource.Defaulter); ok {
		if err := h.Default(ctx, r); err != nil {
			return err
		}
	}
	if h, ok := hooks.(resource.Preparer); ok {
		if err := h.Prepare(ctx, r); err != nil {
			return err
		}
	}
	var errs field.ErrorList
	errs = append(errs, compiled.Validate(ctx, r.Object, nil)...)
	if h, ok := hooks.(resource.Validator); ok && len(errs) == 0 {
		errs = append(errs, h.Validate(ctx, r)...)
	}
	return errs.ToAggregate()
}

func find(t *testing.T, b resource.Bundle, gvk runtimeschema.GroupVersionKind) (*crd.Definition, *crd.Version) {
	t.Helper()
	defs, err := b.Definitions()
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range defs {
		if d.Group != gvk.Group || d.Names.Kind != gvk.Kind {
			continue
		}
		for i := range d.Versions {
			if d.Versions[i].Name == gvk.Version {
				return d, &d.Versions[i]
			}
		}
	}
	t.Fatalf("the bundle does not define %s", gvk)
	return nil, nil
}

// nothing is a reader of an empty cluster.
type nothing struct{}

func (nothing) Get(context.Context, runtimeschema.GroupResource, string, string) (map[string]any, error) {
	return nil, nil
}

func (nothing) List(context.Context, runtimeschema.GroupResource, string) ([]map[string]any, error) {
	return nil, nil
}
