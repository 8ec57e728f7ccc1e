package apiserver

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/pintle-dev/pintle/core/apiserver/internal/managedfields"
	"github.com/pintle-dev/pintle/core/apiserver/internal/protobuf"
	"github.com/pintle-dev/pintle/core/apiserver/internal/table"
	"github.com/pintle-dev/pintle/core/store"
	"github.com/pintle-dev/pintle/crd"
	"github.com/pintle-dev/pintle/crd/registry"
	crdschema "github.com/pintle-dev/pintle/crd/schema"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// Converter is an optional power of hooks: it converts objects between kinds or versions
// that differ by more than their apiVersion but share a bucket of the store. It returns a
// new tree, or changes and returns the one it got, which is the caller's own.
type Converter interface {
	Convert(object map[string]any, to schema.GroupVersionKind) (map[string]any, error)
}

// Marker is an optional power of hooks: it marks an object that waits for its finalizers
// after a deletion in the way of its type, beside the deletionTimestamp. Such types have
// neither a grace period nor a generation that counts the deletion.
type Marker interface {
	MarkDeleted(object map[string]any, now time.Time) error
}

// hooks are what a type does beside its data; nil where it does nothing.
type hooks struct {
	defaulter    resource.Defaulter
	admitter     resource.Admitter
	preparer     resource.Preparer
	validator    resource.Validator
	beginner     resource.Beginner
	deleter      resource.Deleter
	subresourcer resource.Subresourcer
	virtual      resource.Virtual
	printer      resource.Printer
	converter    Converter
	marker       Marker
}

func hooksOf(v any) hooks {
	var h hooks
	h.defaulter, _ = v.(resource.Defaulter)
	h.admitter, _ = v.(resource.Admitter)
	h.preparer, _ = v.(resource.Preparer)
	h.validator, _ = v.(resource.Validator)
	h.beginner, _ = v.(resource.Beginner)
	h.deleter, _ = v.(resource.Deleter)
	h.subresourcer, _ = v.(resource.Subresourcer)
	h.virtual, _ = v.(resource.Virtual)
	h.printer, _ = v.(resource.Printer)
	h.converter, _ = v.(Converter)
	h.marker, _ = v.(Marker)
	return h
}

// kind is one served version of a type, with all that serving it needs. What is costly is
// made when it is first needed.
type kind struct {
	*registry.Type
	hooks
	gr         schema.GroupResource
	apiVersion string
	// storage is the kind objects are stored as.
	storage        schema.GroupVersionKind
	storageVersion string
	// versions brings custom resources into other versions; nil where these differ by
	// their apiVersion only.
	versions   *versions
	builtin    bool
	namespaced bool
	// isNamespace marks the type whose objects are the namespaces of others.
	isNamespace bool
	protobuf    bool
	verbs       map[string]bool   // nil: all
	fields      map[string]string // that can be selected, with their paths

	// since is the newest revision there was when the kind was made. Custom resources that
	// are not newer may lack defaults that their definition has got meanwhile; defaults is
	// the schema where it has any.
	since    uint64
	defaults func() *crdschema.Compiled

	compiled func() (*crdschema.Compiled, error)
	// used is the time of the kind table at which the kind was looked up last.
	used atomic.Int64

	tracker func() (*managedfields.Type, error)
	printer func() (*table.Printer, error)
}

func (k *kind) allows(verb string) bool {
	if k.Definition.Virtual {
		return verb == "create"
	}
	return k.verbs == nil || k.verbs[verb]
}

// Compiled returns the schema, which is held as long as the kind is.
func (k *kind) Compiled() (*crdschema.Compiled, error) { return k.compiled() }

// subresource finds a subresource other than status and scale.
func (k *kind) subresource(name string) (*crd.Subresource, bool) {
	for i := range k.Version.Subresources {
		if k.Version.Subresources[i].Name == name {
			return &k.Version.Subresources[i], true
		}
	}
	return nil, false
}

// selectable finds a field that can be selected.
func (k *kind) selectable(field string) (path string, ok bool) {
	path, ok = k.fields[field]
	return path, ok
}

// counted reports whether an object has a generation.
func (k *kind) counted(hasSpec bool) bool {
	switch k.Definition.Generation {
	case crd.GenerationNone:
		return false
	case crd.GenerationDefault:
		return hasSpec || !k.builtin
	}
	return true
}

func (k *kind) key(namespace, name string) store.Key {
	return store.Key(k.Bucket + "/" + namespace + "/" + name)
}

func (k *kind) prefix(namespace string) store.Key {
	if namespace == "" || !k.namespaced {
		if k.namespaced {
			return store.Key(k.Bucket + "/")
		}
		return store.Key(k.Bucket + "//")
	}
	return store.Key(k.Bucket + "/" + namespace + "/")
}

// kindTable holds the hooks of types, and the kinds made for the registry's types.
type kindTable struct {
	mu    sync.Mutex
	hooks map[schema.GroupResource]any
	kinds atomic.Pointer[map[*registry.Type]*kind]
	// since remembers kind.since of types whose kinds were let go.
	since map[*registry.Type]uint64
	// clock counts the kinds made, by which those that are used no more are known.
	clock atomic.Int64
}

// maxKinds is how many kinds of types that do not come with the server are kept. One takes
// some 200 KB once it has been written to, and a millisecond or two to make again.
const maxKinds = 64

func (t *kindTable) setHooks(gr schema.GroupResource, h any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.hooks == nil {
		t.hooks = map[schema.GroupResource]any{}
	}
	t.hooks[gr] = h
}

// lookup finds the kind that serves a resource.
func (s *Server) lookup(gvr schema.GroupVersionResource) (*kind, bool) {
	t, ok := s.cfg.Registry.Lookup(gvr)
	if !ok {
		return nil, false
	}
	if m := s.kinds.kinds.Load(); m != nil {
		if k, ok := (*m)[t]; ok {
			if now := s.kinds.clock.Load(); k.used.Load() != now {
				k.used.Store(now)
			}
			return k, true
		}
	}
	return s.addKind(t), true
}

// addKind makes the kind of a type and forgets those of types that are served no more.
func (s *Server) addKind(t *registry.Type) *kind {
	s.kinds.mu.Lock()
	defer s.kinds.mu.Unlock()
	next := map[*registry.Type]*kind{}
	if m := s.kinds.kinds.Load(); m != nil {
		if k, ok := (*m)[t]; ok {
			return k
		}
		maps.Copy(next, *m)
	}
	snapshot := s.cfg.Registry.Snapshot()
	for old := range next {
		if cur, ok := snapshot.Lookup(old.GVR); !ok || cur != old {
			delete(next, old)
		}
	}
	k := s.newKind(t, s.kinds.hooks[t.Definition.GroupResource()])
	k.used.Store(s.kinds.clock.Add(1))
	s.kinds.remember(k, snapshot)
	next[t] = k
	letGo(next)
	s.kinds.kinds.Store(&next)
	return k
}

// remember gives a kind that is made again the since it had.
func (t *kindTable) remember(k *kind, snapshot *registry.Snapshot) {
	if k.builtin {
		return
	}
	if since, ok := t.since[k.Type]; ok {
		k.since = since
		return
	}
	if t.since == nil {
		t.since = map[*registry.Type]uint64{}
	}
	for old := range t.since {
		if cur, ok := snapshot.Lookup(old.GVR); !ok || cur != old {
			delete(t.since, old)
		}
	}
	t.since[k.Type] = k.since
}

// letGo drops the kinds that have not been used for longest where there are too many. Who
// is using one goes on with it.
func letGo(kinds map[*registry.Type]*kind) {
	var added []*kind
	for _, k := range kinds {
		if !k.builtin {
			added = append(added, k)
		}
	}
	if len(added) <= maxKinds {
		return
	}
	slices.SortFunc(added, func(a, b *kind) int { return cmp.Compare(a.used.Load(), b.used.Load()) })
	for _, k := range added[:len(added)-maxKinds*3/4] {
		delete(kinds, k.Type)
	}
}

func (s *Server) newKind(t *registry.Type, h any) *kind {
	k := &kind{
		Type: t, hooks: hooksOf(h), gr: t.GVR.GroupResource(), apiVersion: t.GVK.GroupVersion().String(),
		builtin: t.Definition.Source == registry.BuiltinSource, namespaced: t.Definition.Namespaced(),
		isNamespace: t.GVR == s.cfg.NamespaceResource, fields: map[string]string{},
		protobuf: protobuf.GoTypes(s.cfg.GoTypes).Offers(t.GVK),
	}
	k.storage = t.GVK
	if v := t.Definition.StorageVersion(); v != nil {
		k.storage.Version = v.Name
	}
	k.storageVersion = k.storage.GroupVersion().String()
	if k.converter == nil {
		k.versions = s.newVersions(t.Definition, h)
	}
	if len(t.Version.Verbs) > 0 {
		k.verbs = map[string]bool{}
		for _, v := range t.Version.Verbs {
			k.verbs[v] = true
		}
	}
	for _, f := range t.Version.SelectableFields {
		f = strings.TrimPrefix(f, ".")
		k.fields[f] = f
	}
	for name, paths := range t.Version.SelectableAliases {
		k.fields[name] = strings.ReplaceAll(strings.Join(paths, ","), ",.", ",")[len("."):]
	}
	if !k.builtin {
		k.since = s.cfg.Store.Revision()
	}
	k.compiled = sync.OnceValues(t.Compiled)
	k.defaults = sync.OnceValue(func() *crdschema.Compiled {
		if c, err := k.Compiled(); err == nil && c.HasDefaults() {
			return c
		}
		return nil
	})
	k.tracker = sync.OnceValues(func() (*managedfields.Type, error) { return s.newTracker(k) })
	k.printer = sync.OnceValues(func() (*table.Printer, error) {
		return table.New(t.Version.Columns, t.Version.CompleteColumns, k.hooks.printer)
	})
	return k
}

func (s *Server) newTracker(k *kind) (*managedfields.Type, error) {
	c, err := k.Compiled()
	if err != nil {
		return nil, fmt.Errorf("schema of %s: %w", k.GVK, err)
	}
	p, err := c.Typed()
	if err != nil {
		return nil, fmt.Errorf("schema of %s: %w", k.GVK, err)
	}
	blank := map[string]any{}
	if k.builtin {
		if o, ok := s.cfg.GoTypes(k.GVK); ok {
			if m, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o); err == nil {
				blank = m
			}
		}
	}
	return managedfields.NewType(p, managedfields.Options{Blank: blank, Status: k.Version.Status})
}
