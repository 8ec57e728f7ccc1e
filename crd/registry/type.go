package registry

import (
	"fmt"
	"sync"

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
// is first asked for; the memory is freed with the Type. An error is the same every time.
func (t *Type) Compiled() (*schema.Compiled, error) { return t.compile() }

func newType(c *schema.Compiler, d *crd.Definition, v *crd.Version) *Type {
	t := &Type{
		Definition: d,
		Version:    v,
		GVR:        runtimeschema.GroupVersionResource{Group: d.Group, Version: v.Name, Resource: d.Names.Plural},
		GVK:        runtimeschema.GroupVersionKind{Group: d.Group, Version: v.Name, Kind: d.Names.Kind},
		Bucket:     Bucket(d),
	}
	t.compile = sync.OnceValues(func() (*schema.Compiled, error) {
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
	})
	return t
}

// Bucket returns the store's bucket for a definition's objects: the one it names, or its
// plural name and group.
func Bucket(d *crd.Definition) string {
	if d.Bucket != "" {
		return d.Bucket
	}
	return d.GroupResource().String()
}
