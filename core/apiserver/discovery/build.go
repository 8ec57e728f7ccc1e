package discovery

import (
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"slices"
	"strings"

	apidiscoveryv2 "k8s.io/api/apidiscovery/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/pintle-dev/pintle/crd/registry"
)

// build returns what makes the document of a path, or nil where there is none.
func build(s *registry.Snapshot, path string, aggregated bool) func() runtime.Object {
	parts := strings.Split(strings.TrimPrefix(path, "/"), "/")
	legacy := parts[0] == "api"
	if !legacy && parts[0] != "apis" {
		return nil
	}
	switch {
	case len(parts) == 1 && aggregated:
		return func() runtime.Object { return aggregate(groups(s, legacy)) }
	case len(parts) == 1 && legacy:
		return func() runtime.Object { return coreVersions(groups(s, true)) }
	case len(parts) == 1:
		return func() runtime.Object { return groupList(groups(s, false)) }
	case len(parts) == 2 && !legacy:
		if g := group(s, parts[1]); g != nil {
			return func() runtime.Object { return describe(g) }
		}
	case len(parts) == 2 && legacy:
		return resources(s, "", parts[1])
	case len(parts) == 3 && !legacy && parts[1] != "":
		return resources(s, parts[1], parts[2])
	}
	return nil
}

func group(s *registry.Snapshot, name string) *registry.Group {
	for i := range s.Groups {
		if s.Groups[i].Name == name && name != "" {
			return &s.Groups[i]
		}
	}
	return nil
}

// groups returns the core group, or the others. Clients take a resource's short name from
// the first group that has it, so the groups that come with the server stand before those
// that were added to it.
func groups(s *registry.Snapshot, legacy bool) []registry.Group {
	out := slices.DeleteFunc(slices.Clone(s.Groups), func(g registry.Group) bool { return (g.Name == "") != legacy })
	slices.SortStableFunc(out, func(a, b registry.Group) int { return cmp.Compare(rank(a), rank(b)) })
	return out
}

func rank(g registry.Group) int {
	for _, v := range g.Versions {
		for _, t := range v.Types {
			if t.Definition.Source == registry.BuiltinSource {
				return 0
			}
		}
	}
	return 1
}

func coreVersions(core []registry.Group) *metav1.APIVersions {
	out := &metav1.APIVersions{
		TypeMeta: metav1.TypeMeta{Kind: "APIVersions"}, Versions: []string{},
		ServerAddressByClientCIDRs: []metav1.ServerAddressByClientCIDR{},
	}
	for _, g := range core {
		for _, v := range g.Versions {
			out.Versions = append(out.Versions, v.Version)
		}
	}
	return out
}

func groupList(all []registry.Group) *metav1.APIGroupList {
	out := &metav1.APIGroupList{TypeMeta: metav1.TypeMeta{Kind: "APIGroupList", APIVersion: "v1"}, Groups: []metav1.APIGroup{}}
	for i := range all {
		g := describe(&all[i])
		g.TypeMeta = metav1.TypeMeta{}
		out.Groups = append(out.Groups, *g)
	}
	return out
}

func describe(g *registry.Group) *metav1.APIGroup {
	out := &metav1.APIGroup{TypeMeta: metav1.TypeMeta{Kind: "APIGroup", APIVersion: "v1"}, Name: g.Name}
	for _, v := range g.Versions {
		out.Versions = append(out.Versions, metav1.GroupVersionForDiscovery{GroupVersion: g.Name + "/" + v.Version, Version: v.Version})
	}
	if len(out.Versions) > 0 {
		out.PreferredVersion = out.Versions[0]
	}
	return out
}

func resources(s *registry.Snapshot, groupName, version string) func() runtime.Object {
	for _, g := range s.Groups {
		if g.Name != groupName {
			continue
		}
		for _, v := range g.Versions {
			if v.Version == version {
				return func() runtime.Object { return resourceList(groupName, v) }
			}
		}
	}
	return nil
}

func resourceList(groupName string, v registry.GroupVersion) *metav1.APIResourceList {
	gv := v.Version
	if groupName != "" {
		gv = groupName + "/" + v.Version
	}
	out := &metav1.APIResourceList{
		TypeMeta: metav1.TypeMeta{Kind: "APIResourceList", APIVersion: "v1"}, GroupVersion: gv, APIResources: []metav1.APIResource{},
	}
	for _, t := range v.Types {
		d := t.Definition
		r := metav1.APIResource{
			Name: d.Names.Plural, SingularName: d.Names.Singular, Namespaced: d.Namespaced(), Kind: d.Names.Kind,
			Verbs: verbs(t), ShortNames: d.Names.ShortNames, Categories: d.Names.Categories,
		}
		if storage := d.StorageVersion(); storage != nil && !d.Virtual {
			r.StorageVersionHash = storageVersionHash(d.Group, storage.Name, d.Names.Kind)
		}
		out.APIResources = append(out.APIResources, r)
		for _, sub := range subresources(t) {
			r := metav1.APIResource{Name: d.Names.Plural + "/" + sub.name, Namespaced: d.Namespaced(), Kind: sub.kind.Kind, Verbs: sub.verbs}
			if sub.kind.Group != t.GVK.Group || sub.kind.Version != t.GVK.Version {
				r.Group, r.Version = sub.kind.Group, sub.kind.Version
			}
			out.APIResources = append(out.APIResources, r)
		}
	}
	slices.SortFunc(out.APIResources, func(a, b metav1.APIResource) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

func aggregate(all []registry.Group) *apidiscoveryv2.APIGroupDiscoveryList {
	out := &apidiscoveryv2.APIGroupDiscoveryList{
		TypeMeta: metav1.TypeMeta{Kind: "APIGroupDiscoveryList", APIVersion: "apidiscovery.k8s.io/v2"},
		Items:    []apidiscoveryv2.APIGroupDiscovery{},
	}
	for _, g := range all {
		item := apidiscoveryv2.APIGroupDiscovery{ObjectMeta: metav1.ObjectMeta{Name: g.Name}}
		for _, v := range g.Versions {
			version := apidiscoveryv2.APIVersionDiscovery{Version: v.Version, Freshness: apidiscoveryv2.DiscoveryFreshnessCurrent}
			for _, t := range v.Types {
				version.Resources = append(version.Resources, aggregatedResource(t))
			}
			item.Versions = append(item.Versions, version)
		}
		out.Items = append(out.Items, item)
	}
	return out
}

func aggregatedResource(t *registry.Type) apidiscoveryv2.APIResourceDiscovery {
	d := t.Definition
	r := apidiscoveryv2.APIResourceDiscovery{
		Resource: d.Names.Plural, SingularResource: d.Names.Singular,
		ResponseKind: &metav1.GroupVersionKind{Group: t.GVK.Group, Version: t.GVK.Version, Kind: t.GVK.Kind},
		Scope:        apidiscoveryv2.ScopeCluster,
		Verbs:        verbs(t), ShortNames: d.Names.ShortNames, Categories: d.Names.Categories,
	}
	if d.Namespaced() {
		r.Scope = apidiscoveryv2.ScopeNamespace
	}
	for _, sub := range subresources(t) {
		kind := sub.kind
		r.Subresources = append(r.Subresources, apidiscoveryv2.APISubresourceDiscovery{Subresource: sub.name, ResponseKind: &kind, Verbs: sub.verbs})
	}
	return r
}

// allVerbs of a type that does not limit them.
var allVerbs = []string{"create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"}

func verbs(t *registry.Type) []string {
	switch {
	case len(t.Version.Verbs) > 0:
		return slices.Sorted(slices.Values(t.Version.Verbs))
	case t.Definition.Virtual:
		return []string{"create"}
	}
	return allVerbs
}

type subresource struct {
	name  string
	kind  metav1.GroupVersionKind
	verbs []string
}

// subresources of a type, ordered by name.
func subresources(t *registry.Type) []subresource {
	own := metav1.GroupVersionKind{Group: t.GVK.Group, Version: t.GVK.Version, Kind: t.GVK.Kind}
	readWrite := []string{"get", "patch", "update"}
	var out []subresource
	if t.Version.Status {
		out = append(out, subresource{"status", own, readWrite})
	}
	if t.Version.Scale != nil {
		out = append(out, subresource{"scale", metav1.GroupVersionKind{Group: "autoscaling", Version: "v1", Kind: "Scale"}, readWrite})
	}
	for _, s := range t.Version.Subresources {
		kind := metav1.GroupVersionKind{Group: s.Group, Version: s.Version, Kind: s.Kind}
		if s.Group == "" && s.Version == "" {
			kind.Group, kind.Version = own.Group, own.Version
		}
		out = append(out, subresource{s.Name, kind, slices.Sorted(slices.Values(s.Verbs))})
	}
	slices.SortFunc(out, func(a, b subresource) int { return cmp.Compare(a.name, b.name) })
	return out
}

// storageVersionHash tells clients whether two versions of a resource are stored alike.
func storageVersionHash(group, version, kind string) string {
	sum := sha256.Sum256([]byte(group + "/" + version + "/" + kind))
	return base64.StdEncoding.EncodeToString(sum[:8])
}
