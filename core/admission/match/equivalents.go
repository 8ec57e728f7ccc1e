package match

import (
	"sync"
	"sync/atomic"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/pintle-dev/pintle/crd/registry"
)

// Registry finds equivalents among the types that are served: other versions of a type, and
// types of other groups that serve the same objects. It remembers what it has found as long
// as the types are the same.
type Registry struct {
	types *registry.Registry
	known atomic.Pointer[answers]
}

var _ Equivalents = (*Registry)(nil)

// answers are what is known of one state of the registry.
type answers struct {
	of *registry.Snapshot
	// found is by question: question → []Target.
	found sync.Map
}

type question struct {
	resource    schema.GroupVersionResource
	subresource string
}

// NewRegistry returns a Registry.
func NewRegistry(types *registry.Registry) *Registry { return &Registry{types: types} }

// Equivalents implements Equivalents.
func (r *Registry) Equivalents(gvr schema.GroupVersionResource, subresource string) []Target {
	now := r.types.Snapshot()
	a := r.known.Load()
	if a == nil || a.of != now {
		a = &answers{of: now}
		r.known.Store(a)
	}
	q := question{gvr, subresource}
	if v, ok := a.found.Load(q); ok {
		list, _ := v.([]Target)
		return list
	}
	list := find(now, gvr, subresource)
	a.found.Store(q, list)
	return list
}

func find(s *registry.Snapshot, gvr schema.GroupVersionResource, subresource string) []Target {
	own, ok := s.Lookup(gvr)
	if !ok {
		return nil
	}
	var list []Target
	for _, g := range s.Groups {
		for _, v := range g.Versions {
			for _, t := range v.Types {
				if t.Bucket != own.Bucket || t.GVR == gvr {
					continue
				}
				if kind, ok := kindOf(t, subresource); ok {
					list = append(list, Target{Resource: t.GVR, Subresource: subresource, Kind: kind})
				}
			}
		}
	}
	return list
}

// kindOf is the kind that is sent to a subresource of a type, if it has that.
func kindOf(t *registry.Type, subresource string) (schema.GroupVersionKind, bool) {
	switch {
	case subresource == "", subresource == "status" && t.Version.Status:
		return t.GVK, true
	case subresource == "scale" && t.Version.Scale != nil:
		return schema.GroupVersionKind{Group: "autoscaling", Version: "v1", Kind: "Scale"}, true
	}
	for i := range t.Version.Subresources {
		if sub := &t.Version.Subresources[i]; sub.Name == subresource {
			gvk := schema.GroupVersionKind{Group: sub.Group, Version: sub.Version, Kind: sub.Kind}
			if gvk.Group == "" && gvk.Version == "" {
				gvk.Group = t.GVK.Group
			}
			if gvk.Version == "" {
				gvk.Version = t.GVK.Version
			}
			return gvk, true
		}
	}
	return schema.GroupVersionKind{}, false
}
