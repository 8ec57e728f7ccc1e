package control

import (
	"errors"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
)

// Resource is a type of objects that the API server serves.
type Resource struct {
	schema.GroupVersionResource
	Kind       schema.GroupVersionKind
	Namespaced bool
	Verbs      []string
	// Preferred says that this is the version of the type to be used where any will do.
	Preferred bool
}

// Discover asks the API server for all that it serves, without subresources. Where some
// groups can't be looked up it returns the others together with an error that holds a
// *discovery.ErrGroupDiscoveryFailed.
func Discover(d discovery.DiscoveryInterface) ([]Resource, error) {
	groups, lists, err := d.ServerGroupsAndResources()
	var partial *discovery.ErrGroupDiscoveryFailed
	if err != nil && !errors.As(err, &partial) {
		return nil, err
	}
	byVersion := map[schema.GroupVersion]*metav1.APIResourceList{}
	for _, list := range lists {
		gv, parseErr := schema.ParseGroupVersion(list.GroupVersion)
		if parseErr != nil {
			err = errors.Join(err, parseErr)
			continue
		}
		byVersion[gv] = list
	}
	var out []Resource
	for _, g := range groups {
		out = append(out, ofGroup(g, byVersion)...)
	}
	return out, err
}

func ofGroup(g *metav1.APIGroup, lists map[schema.GroupVersion]*metav1.APIResourceList) []Resource {
	versions := make([]string, 0, len(g.Versions)+1)
	if g.PreferredVersion.Version != "" {
		versions = append(versions, g.PreferredVersion.Version)
	}
	for _, v := range g.Versions {
		if v.Version != g.PreferredVersion.Version {
			versions = append(versions, v.Version)
		}
	}
	var out []Resource
	seen := map[string]bool{}
	for _, version := range versions {
		gv := schema.GroupVersion{Group: g.Name, Version: version}
		list := lists[gv]
		if list == nil {
			continue
		}
		for _, r := range list.APIResources {
			if strings.Contains(r.Name, "/") {
				continue
			}
			out = append(out, Resource{
				GroupVersionResource: gv.WithResource(r.Name), Kind: gv.WithKind(r.Kind),
				Namespaced: r.Namespaced, Verbs: r.Verbs, Preferred: !seen[r.Name],
			})
			seen[r.Name] = true
		}
	}
	return out
}
