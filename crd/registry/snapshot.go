package registry

import (
	"slices"
	"strings"

	runtimeschema "k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/version"

	"github.com/pintle-dev/pintle/crd"
)

// Snapshot is the state of a registry at one moment. Nobody changes it.
type Snapshot struct {
	// Generation grows with every change; equal generations of one registry are equal
	// snapshots.
	Generation uint64
	// Groups are ordered by name; the core group "" is first.
	Groups []Group

	byResource  map[runtimeschema.GroupVersionResource]*Type
	byKind      map[runtimeschema.GroupVersionKind]*Type
	definitions map[runtimeschema.GroupResource]*crd.Definition
}

// Group is an API group with at least one served version.
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

func newSnapshot(generation uint64, entries []*entry) *Snapshot {
	s := &Snapshot{
		Generation:  generation,
		byResource:  make(map[runtimeschema.GroupVersionResource]*Type, len(entries)),
		byKind:      make(map[runtimeschema.GroupVersionKind]*Type, len(entries)),
		definitions: make(map[runtimeschema.GroupResource]*crd.Definition, len(entries)),
	}
	var types []*Type
	for _, e := range entries {
		s.definitions[e.definition.GroupResource()] = e.definition
		for _, t := range e.types {
			s.byResource[t.GVR] = t
			s.byKind[t.GVK] = t
			types = append(types, t)
		}
	}
	slices.SortFunc(types, func(a, b *Type) int {
		if c := strings.Compare(a.GVR.Group, b.GVR.Group); c != 0 {
			return c
		}
		if c := version.CompareKubeAwareVersionStrings(b.GVR.Version, a.GVR.Version); c != 0 {
			return c
		}
		return strings.Compare(a.GVR.Resource, b.GVR.Resource)
	})
	for _, t := range types {
		if n := len(s.Groups); n == 0 || s.Groups[n-1].Name != t.GVR.Group {
			s.Groups = append(s.Groups, Group{Name: t.GVR.Group})
		}
		g := &s.Groups[len(s.Groups)-1]
		if n := len(g.Versions); n == 0 || g.Versions[n-1].Version != t.GVR.Version {
			g.Versions = append(g.Versions, GroupVersion{Version: t.GVR.Version})
		}
		v := &g.Versions[len(g.Versions)-1]
		v.Types = append(v.Types, t)
	}
	return s
}

// Lookup finds a served type by its resource.
func (s *Snapshot) Lookup(gvr runtimeschema.GroupVersionResource) (*Type, bool) {
	t, ok := s.byResource[gvr]
	return t, ok
}

// LookupKind finds a served type by its kind.
func (s *Snapshot) LookupKind(gvk runtimeschema.GroupVersionKind) (*Type, bool) {
	t, ok := s.byKind[gvk]
	return t, ok
}

// Definition returns the definition of a resource, also where none of its versions is
// served.
func (s *Snapshot) Definition(gr runtimeschema.GroupResource) (*crd.Definition, bool) {
	d, ok := s.definitions[gr]
	return d, ok
}

// Storage returns the type of a resource in the version its objects are stored in, where
// that version is served.
func (s *Snapshot) Storage(gr runtimeschema.GroupResource) (*Type, bool) {
	d := s.definitions[gr]
	if d == nil {
		return nil, false
	}
	v := d.StorageVersion()
	if v == nil {
		return nil, false
	}
	return s.Lookup(gr.WithVersion(v.Name))
}

// Group returns a group by its name.
func (s *Snapshot) Group(name string) (Group, bool) {
	i, ok := slices.BinarySearchFunc(s.Groups, name, func(g Group, name string) int { return strings.Compare(g.Name, name) })
	if !ok {
		return Group{}, false
	}
	return s.Groups[i], true
}
