package registry

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	runtimeschema "k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/pintle-dev/pintle/crd"
	"github.com/pintle-dev/pintle/crd/schema"
	"github.com/pintle-dev/pintle/crd/schema/rules"
)

// Registry holds the definitions. Reads take no lock but right after a change, when the
// first reader makes the new snapshot. It is safe for concurrent use.
type Registry struct {
	compiler *schema.Compiler

	mu          sync.Mutex
	entries     map[runtimeschema.GroupResource]*entry
	generation  uint64
	subscribers map[chan struct{}]struct{}

	// current is nil after a change, until somebody looks.
	current atomic.Pointer[Snapshot]
}

// entry is a definition with the types of its served versions.
type entry struct {
	definition *crd.Definition
	types      []*Type
}

// New returns an empty registry. Its types evaluate x-kubernetes-validations with CEL.
func New() *Registry {
	return &Registry{
		compiler:    schema.NewCompiler(rules.Compile),
		entries:     map[runtimeschema.GroupResource]*entry{},
		subscribers: map[chan struct{}]struct{}{},
	}
}

// ErrConflict is wrapped by errors about names that another definition has.
var ErrConflict = errors.New("name is taken")

// Register adds a definition. It fails where the definition is not usable or where one of
// its names is taken in its group; the error says by what. The definition must not be
// changed afterwards.
func (r *Registry) Register(d *crd.Definition) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if have := r.entries[d.GroupResource()]; have != nil {
		return fmt.Errorf("register %s: resource is registered already, by %s: %w",
			describe(d), describe(have.definition), ErrConflict)
	}
	return r.put(d)
}

// Replace adds a definition in place of the one with the same group and plural name, if
// there is one. On an error the old one stays.
func (r *Registry) Replace(d *crd.Definition) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.put(d)
}

func (r *Registry) put(d *crd.Definition) error {
	if err := check(d); err != nil {
		return fmt.Errorf("register %s: %w", describe(d), err)
	}
	for gr, e := range r.entries {
		if gr.Group != d.Group || gr.Resource == d.Names.Plural {
			continue
		}
		if err := conflict(d, e.definition); err != nil {
			return fmt.Errorf("register %s: %w", describe(d), err)
		}
	}
	e := &entry{definition: d}
	for i := range d.Versions {
		if d.Versions[i].Served {
			e.types = append(e.types, newType(r.compiler, d, &d.Versions[i]))
		}
	}
	r.entries[d.GroupResource()] = e
	r.changed()
	return nil
}

// Remove removes a definition and reports whether there was one.
func (r *Registry) Remove(gr runtimeschema.GroupResource) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.entries[gr] == nil {
		return false
	}
	delete(r.entries, gr)
	r.changed()
	return true
}

// changed is called with the lock held.
func (r *Registry) changed() {
	r.generation++
	r.current.Store(nil)
	for c := range r.subscribers {
		select {
		case c <- struct{}{}:
		default: // it has a signal waiting that stands for this change too
		}
	}
}

// Lookup finds a served type by its resource.
func (r *Registry) Lookup(gvr runtimeschema.GroupVersionResource) (*Type, bool) {
	return r.Snapshot().Lookup(gvr)
}

// LookupKind finds a served type by its kind.
func (r *Registry) LookupKind(gvk runtimeschema.GroupVersionKind) (*Type, bool) {
	return r.Snapshot().LookupKind(gvk)
}

// Snapshot returns the present state. Every change that returned before the call is in it.
func (r *Registry) Snapshot() *Snapshot {
	if s := r.current.Load(); s != nil {
		return s
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if s := r.current.Load(); s != nil {
		return s
	}
	s := newSnapshot(r.generation, slices.Collect(maps.Values(r.entries)))
	r.current.Store(s)
	return s
}

// Subscribe returns a channel that receives after changes (several may be signalled as
// one), until cancel is called.
func (r *Registry) Subscribe() (changed <-chan struct{}, cancel func()) {
	c := make(chan struct{}, 1)
	r.mu.Lock()
	r.subscribers[c] = struct{}{}
	r.mu.Unlock()
	return c, func() {
		r.mu.Lock()
		delete(r.subscribers, c)
		r.mu.Unlock()
	}
}

// describe names a definition and where it came from.
func describe(d *crd.Definition) string {
	if d.Source == "" {
		return d.GroupResource().String()
	}
	return fmt.Sprintf("%s (%s)", d.GroupResource(), d.Source)
}

// check refuses definitions that can't be served.
func check(d *crd.Definition) error {
	if msgs := validation.IsDNS1035Label(d.Names.Plural); len(msgs) > 0 {
		return fmt.Errorf("names.plural: %q: %s", d.Names.Plural, msgs[0])
	}
	if d.Names.Kind == "" {
		return errors.New("names.kind: required")
	}
	if d.Scope != crd.NamespaceScoped && d.Scope != crd.ClusterScoped {
		return fmt.Errorf("scope: %q is none of %s, %s", d.Scope, crd.NamespaceScoped, crd.ClusterScoped)
	}
	if len(d.Versions) == 0 {
		return errors.New("versions: at least one is required")
	}
	storage := 0
	seen := map[string]bool{}
	for i := range d.Versions {
		v := &d.Versions[i]
		if msgs := validation.IsDNS1035Label(v.Name); len(msgs) > 0 {
			return fmt.Errorf("versions[%d].name: %q: %s", i, v.Name, msgs[0])
		}
		if seen[v.Name] {
			return fmt.Errorf("versions[%d].name: %q occurs twice", i, v.Name)
		}
		seen[v.Name] = true
		if v.Storage {
			storage++
		}
	}
	if storage != 1 && !d.Virtual {
		return fmt.Errorf("versions: exactly one must have storage set, %d have", storage)
	}
	return nil
}

// conflict says which name two definitions of one group share.
func conflict(d, other *crd.Definition) error {
	for _, name := range resourceNames(d) {
		if name.value != "" && slices.ContainsFunc(resourceNames(other), func(o field) bool { return o.value == name.value }) {
			return fmt.Errorf("%s %q: %w by %s", name.field, name.value, ErrConflict, describe(other))
		}
	}
	for _, name := range kindNames(d) {
		if name.value != "" && slices.ContainsFunc(kindNames(other), func(o field) bool { return o.value == name.value }) {
			return fmt.Errorf("%s %q: %w by %s", name.field, name.value, ErrConflict, describe(other))
		}
	}
	return nil
}

type field struct{ field, value string }

func resourceNames(d *crd.Definition) []field {
	names := []field{{"names.plural", d.Names.Plural}, {"names.singular", d.Names.Singular}}
	for _, s := range d.Names.ShortNames {
		names = append(names, field{"names.shortNames", s})
	}
	return names
}

func kindNames(d *crd.Definition) []field {
	return []field{{"names.kind", d.Names.Kind}, {"names.listKind", d.Names.ListKind}}
}
