package registry

import (
	runtimeschema "k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/pintle-dev/pintle/crd"
)

// Registry holds the definitions. Reads take no lock; it is safe for concurrent use.
type Registry struct{}

// New returns an empty registry.
func New() *Registry { return &Registry{} }

// Register adds a definition. It fails where the definition is not usable or where one of
// its names is taken in its group; the error says by what.
func (r *Registry) Register(d *crd.Definition) error { return nil }

// Replace adds a definition in place of the one with the same group and plural name, if
// there is one.
func (r *Registry) Replace(d *crd.Definition) error { return nil }

// Remove removes a definition and reports whether there was one.
func (r *Registry) Remove(gr runtimeschema.GroupResource) bool { return false }

// Lookup finds a served type by its resource.
func (r *Registry) Lookup(gvr runtimeschema.GroupVersionResource) (*Type, bool) {
	return r.Snapshot().Lookup(gvr)
}

// LookupKind finds a served type by its kind.
func (r *Registry) LookupKind(gvk runtimeschema.GroupVersionKind) (*Type, bool) {
	return r.Snapshot().LookupKind(gvk)
}

// Snapshot returns the present state.
func (r *Registry) Snapshot() *Snapshot { return &Snapshot{} }

// Subscribe returns a channel that receives after changes (several may be signalled as
// one), until cancel is called.
func (r *Registry) Subscribe() (changed <-chan struct{}, cancel func()) {
	return make(chan struct{}), func() {}
}

// Snapshot is the state of a registry at one moment. Nobody changes it.
type Snapshot struct {
	// Generation grows with every change.
	Generation uint64
	// Groups are ordered by name; the core group "" is first.
	Groups []Group
}

// Group is an API group.
type Group struct {
	Name string
	// Versions in Kubernetes' order of priority: v2, v1, v1beta1, …. The first is
	// preferred.
	Versions []GroupVersion
}

// GroupVersion is a version of a group with the types that are served in it, ordered by
// plural name.
type GroupVersion struct {
	Version string
	Types   []*Type
}

// Lookup finds a served type by its resource.
func (s *Snapshot) Lookup(gvr runtimeschema.GroupVersionResource) (*Type, bool) { return nil, false }

// LookupKind finds a served type by its kind.
func (s *Snapshot) LookupKind(gvk runtimeschema.GroupVersionKind) (*Type, bool) { return nil, false }

// Definition returns the definition of a resource.
func (s *Snapshot) Definition(gr runtimeschema.GroupResource) (*crd.Definition, bool) {
	return nil, false
}
