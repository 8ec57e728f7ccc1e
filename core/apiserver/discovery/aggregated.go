package discovery

import (
	"strings"

	apidiscoveryv2 "k8s.io/api/apidiscovery/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pintle-dev/pintle/core/apiserver/aggregation"
	"github.com/pintle-dev/pintle/crd/registry"
)

func aggregate(all []group) *apidiscoveryv2.APIGroupDiscoveryList {
	out := &apidiscoveryv2.APIGroupDiscoveryList{
		TypeMeta: metav1.TypeMeta{Kind: "APIGroupDiscoveryList", APIVersion: "apidiscovery.k8s.io/v2"},
		Items:    []apidiscoveryv2.APIGroupDiscovery{},
	}
	for _, g := range all {
		item := apidiscoveryv2.APIGroupDiscovery{ObjectMeta: metav1.ObjectMeta{Name: g.name}}
		for _, v := range g.versions {
			version := apidiscoveryv2.APIVersionDiscovery{Version: v.name, Freshness: apidiscoveryv2.DiscoveryFreshnessCurrent}
			if v.remote != nil {
				version.Resources = remoteResources(v.remote)
				if v.remote.Stale {
					version.Freshness = apidiscoveryv2.DiscoveryFreshnessStale
				}
			}
			for _, t := range v.types {
				version.Resources = append(version.Resources, aggregatedResource(t))
			}
			item.Versions = append(item.Versions, version)
		}
		out.Items = append(out.Items, item)
	}
	return out
}

// remoteResources brings another server's list into the form of the aggregated document.
func remoteResources(r *aggregation.Remote) []apidiscoveryv2.APIResourceDiscovery {
	var out []apidiscoveryv2.APIResourceDiscovery
	index := map[string]int{}
	kindOf := func(a *metav1.APIResource) *metav1.GroupVersionKind {
		kind := &metav1.GroupVersionKind{Group: a.Group, Version: a.Version, Kind: a.Kind}
		if a.Version == "" {
			kind.Group, kind.Version = r.GroupVersion.Group, r.GroupVersion.Version
		}
		return kind
	}
	scope := func(a *metav1.APIResource) apidiscoveryv2.ResourceScope {
		if a.Namespaced {
			return apidiscoveryv2.ScopeNamespace
		}
		return apidiscoveryv2.ScopeCluster
	}
	for i := range r.Resources {
		a := &r.Resources[i]
		if strings.Contains(a.Name, "/") {
			continue
		}
		index[a.Name] = len(out)
		out = append(out, apidiscoveryv2.APIResourceDiscovery{
			Resource: a.Name, SingularResource: a.SingularName, ResponseKind: kindOf(a), Scope: scope(a),
			Verbs: a.Verbs, ShortNames: a.ShortNames, Categories: a.Categories,
		})
	}
	for i := range r.Resources {
		a := &r.Resources[i]
		parent, sub, ok := strings.Cut(a.Name, "/")
		if !ok {
			continue
		}
		at, known := index[parent]
		if !known { // a subresource of what can't be asked for itself
			at = len(out)
			index[parent] = at
			out = append(out, apidiscoveryv2.APIResourceDiscovery{Resource: parent, Scope: scope(a), ResponseKind: &metav1.GroupVersionKind{}})
		}
		out[at].Subresources = append(out[at].Subresources, apidiscoveryv2.APISubresourceDiscovery{Subresource: sub, ResponseKind: kindOf(a), Verbs: a.Verbs})
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
