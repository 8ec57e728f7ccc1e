package encryption

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
)

// Resources says which types are sealed.
type Resources struct {
	all    bool
	names  map[string]struct{}
	groups map[string]struct{}
}

// ParseResources reads names of types, "secrets" or "widgets.example.dev", of all types of a
// group, "*.example.dev" or "*." for that without a name, and "*.*" for all.
func ParseResources(list []string) (Resources, error) {
	r := Resources{names: map[string]struct{}{}, groups: map[string]struct{}{}}
	for i, name := range list {
		resource, group, dotted := strings.Cut(name, ".")
		fail := func(why string) error {
			return fmt.Errorf("resources[%d]: %q %s: names are such as secrets, widgets.example.dev, *.example.dev, *. (the core group) or *.* (all)", i, name, why)
		}
		switch {
		case name == "*.*":
			r.all = true
			continue
		case name == "*":
			return Resources{}, fail("does not say of which group")
		case dotted && group != "" && len(validation.IsDNS1123Subdomain(group)) > 0:
			return Resources{}, fail("is of no valid group")
		case resource == "*":
			r.groups[group] = struct{}{}
			continue
		case len(validation.IsDNS1035Label(resource)) > 0:
			return Resources{}, fail("is no name of a type")
		case dotted && group == "":
			return Resources{}, fail("has no group behind its dot")
		}
		r.names[name] = struct{}{}
	}
	return r, nil
}

// Any reports whether anything is to be sealed.
func (r *Resources) Any() bool { return r.all || len(r.names)+len(r.groups) > 0 }

// Has reports whether the objects of a bucket of the store are to be sealed.
func (r *Resources) Has(bucket string) bool {
	if _, ok := r.names[bucket]; ok {
		return true
	}
	if !r.all && len(r.groups) == 0 || !served(bucket) {
		return false
	}
	_, group, _ := strings.Cut(bucket, ".")
	_, ok := r.groups[group]
	return ok || r.all
}

// served reports whether a bucket is a resource type's and not the store's own.
func served(bucket string) bool {
	return bucket != "" && bucket[0] >= 'a' && bucket[0] <= 'z'
}
