package registry

import (
	"fmt"
	"sync"
	"weak"

	runtimeschema "k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/pintle-dev/pintle/crd"
	"github.com/pintle-dev/pintle/crd/schema"
)

// BuiltinSource is crd.BuiltinSource.
const BuiltinSource = crd.BuiltinSource

// Type is one served version of a definition. It is immutable; a changed definition makes
// new Types.
type Type struct {
	Definition *crd.Definition
	Version    *crd.Version
	GVR        runtimeschema.GroupVersionResource
	GVK        runtimeschema.GroupVersionKind
	// Bucket of the store that has the objects: "pods", "deployments.apps".
	Bucket string

	compile func() (*schema.Compiled, error)
}

// ListGVK is the kind of lists of the type.
func (t *Type) ListGVK() runtimeschema.GroupVersionKind {
	return t.GVK.GroupVersion().WithKind(t.Definition.Names.ListKind)
}

// Compiled returns the type's compiled schema. The schema is parsed and compiled when it
// is first asked for. Schemas of types that come with the server are kept from then on;
// others for as long as somebody holds them, so that whoever needs one often should.
func (t *Type) Compiled() (*schema.Compiled, error) { return t.compile() }

func newType(c *schema.Compiler, d *crd.Definition, v *crd.Version) *Type {
	t := &Type{
		Definition: d,
		Version:    v,
		GVR:        runtimeschema.GroupVersionResource{Group: d.Group, Version: v.Name, Resource: d.Names.Plural},
		GVK:        runtimeschema.GroupVersionKind{Group: d.Group, Version: v.Name, Kind: d.Names.Kind},
		Bucket:     Bucket(d),
	}
	compile := func() (*schema.Compiled, error) {
		options := schema.Options{
			Group: d.Group, Version: v.Name, Kind: d.Names.Kind,
			Builtin:               d.Source == BuiltinSource,
			PreserveUnknownFields: d.PreserveUnknownFields,
		}
		if v.Schema == nil {
			// A type without a schema takes any object.
			options.PreserveUnknownFields = true
			return c.Compile(&schema.Schema{Type: "object"}, options)
		}
		s, err := v.Schema()
		if err != nil {
			return nil, fmt.Errorf("schema of %s, %s: %w", t.GVR.GroupVersion(), d.Names.Kind, err)
		}
		compiled, err := c.Compile(s, options)
		if err != nil {
			return nil, fmt.Errorf("schema of %s, %s: %w", t.GVR.GroupVersion(), d.Names.Kind, err)
		}
		return compiled, nil
	}
	if d.Source == BuiltinSource {
		t.compile = sync.OnceValues(compile)
	} else {
		t.compile = shared(compile)
	}
	return t
}

// shared returns a function that gives all who ask the same value, as long as one of them
// holds it.
func shared(compile func() (*schema.Compiled, error)) func() (*schema.Compiled, error) {
	var mu sync.Mutex
	var last weak.Pointer[schema.Compiled]
	return func() (*schema.Compiled, error) {
		mu.Lock()
		defer mu.Unlock()
		if c := last.Value(); c != nil {
			return c, nil
		}
		c, err := compile()
		last = weak.Make(c)
		return c, err
	}
}

// Bucket returns the store's bucket for a definition's objects: the one it names, or its
// plural name and group.
func Bucket(d *crd.Definition) string {
	if d.Bucket != "" {
		return d.Bucket
	}
	return d.GroupResource().String()
}
