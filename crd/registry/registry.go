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
	names       map[nameKey]*entry
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
		names:       map[nameKey]*entry{},
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
	old := r.entries[d.GroupResource()]
	for _, n := range namesOf(d) {
		if other := r.names[n.key(d.Group)]; other != nil && other != old {
			return fmt.Errorf("register %s: %s %q: %w by %s", describe(d), n.field, n.value, ErrConflict, describe(other.definition))
		}
	}
	e := &entry{definition: d}
	r.forget(old)
	for _, n := range namesOf(d) {
		r.names[n.key(d.Group)] = e
	}
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
	r.forget(r.entries[gr])
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

// forget frees the names of an entry; nil has none.
func (r *Registry) forget(e *entry) {
	if e == nil {
		return
	}
	for _, n := range namesOf(e.definition) {
		delete(r.names, n.key(e.definition.Group))
	}
}

// Group returns the definitions of a group, those that are not served too.
func (r *Registry) Group(group string) []*crd.Definition {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []*crd.Definition
	for gr, e := range r.entries {
		if gr.Group == group {
			out = append(out, e.definition)
		}
	}
	return out
}

// name is one of the names of a definition, and where it stands there. Within a group,
// resources and kinds each have a name to themselves.
type name struct {
	field, value string
	kind         bool
}

type nameKey struct {
	group, name string
	kind        bool
}

func (n name) key(group string) nameKey { return nameKey{group, n.value, n.kind} }

func namesOf(d *crd.Definition) []name {
	all := make([]name, 0, 4+len(d.Names.ShortNames))
	all = append(all, name{"names.plural", d.Names.Plural, false}, name{"names.singular", d.Names.Singular, false})
	for _, s := range d.Names.ShortNames {
		all = append(all, name{"names.shortNames", s, false})
	}
	all = append(all, name{"names.kind", d.Names.Kind, true}, name{"names.listKind", d.Names.ListKind, true})
	return slices.DeleteFunc(all, func(n name) bool { return n.value == "" })
}
