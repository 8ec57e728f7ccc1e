package discovery

import (
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	apiversion "k8s.io/apimachinery/pkg/version"

	"github.com/pintle-dev/pintle/core/apiserver/aggregation"
	"github.com/pintle-dev/pintle/crd/registry"
)

// group is an API group with the versions of all servers.
type group struct {
	name     string
	priority int32
	versions []version
}

// version of a group: this server's types, or what another server serves.
type version struct {
	name     string
	priority int32
	types    []*registry.Type
	remote   *aggregation.Remote
}

// merge orders all groups as clients prefer them: by the highest priority among their
// versions, which decides whose a resource's short name is, and versions by theirs.
func (h *Handler) merge(s *registry.Snapshot, others *aggregation.Discovery) []group {
	byName := map[string]*group{}
	var out []*group
	add := func(gv schema.GroupVersion, p aggregation.Priority, v version) {
		g := byName[gv.Group]
		if g == nil {
			g = &group{name: gv.Group}
			byName[gv.Group] = g
			out = append(out, g)
		}
		g.priority = max(g.priority, p.Group)
		v.name, v.priority = gv.Version, p.Version
		g.versions = append(g.versions, v)
	}
	remote := map[schema.GroupVersion]bool{}
	if others != nil {
		for i := range others.Remote {
			r := &others.Remote[i]
			remote[r.GroupVersion] = true
			add(r.GroupVersion, others.Priorities[r.GroupVersion], version{remote: r})
		}
	}
	for _, g := range s.Groups {
		for _, v := range g.Versions {
			gv := schema.GroupVersion{Group: g.Name, Version: v.Version}
			if !remote[gv] {
				add(gv, h.priority(gv, v.Types, others), version{types: v.Types})
			}
		}
	}
	slices.SortFunc(out, func(a, b *group) int {
		return cmp.Or(cmp.Compare(b.priority, a.priority), cmp.Compare(a.name, b.name))
	})
	list := make([]group, 0, len(out))
	for _, g := range out {
		slices.SortStableFunc(g.versions, func(a, b version) int {
			return cmp.Or(cmp.Compare(b.priority, a.priority), apiversion.CompareKubeAwareVersionStrings(b.name, a.name))
		})
		list = append(list, *g)
	}
	return list
}

// The priorities of group versions that nobody has set any for: what comes with the server
// stands before what was added to it.
var (
	builtinPriority = aggregation.Priority{Group: 16000, Version: 15}
	addedPriority   = aggregation.Priority{Group: 1000, Version: 100}
)

func (h *Handler) priority(gv schema.GroupVersion, types []*registry.Type, others *aggregation.Discovery) aggregation.Priority {
	if others != nil {
		if p, ok := others.Priorities[gv]; ok {
			return p
		}
	}
	if h.cfg.Priority != nil {
		return h.cfg.Priority(gv)
	}
	for _, t := range types {
		if t.Definition.Source == registry.BuiltinSource {
			return builtinPriority
		}
	}
	return addedPriority
}

// build returns what makes the document of a path, or nil where there is none.
func (h *Handler) build(s *state, path string, aggregated bool) func() runtime.Object {
	parts := strings.Split(strings.TrimPrefix(path, "/"), "/")
	legacy := parts[0] == "api"
	if !legacy && parts[0] != "apis" {
		return nil
	}
	switch {
	case len(parts) == 1 && aggregated:
		return func() runtime.Object { return aggregate(s.some(legacy)) }
	case len(parts) == 1 && legacy:
		return func() runtime.Object { return h.coreVersions(s.some(true)) }
	case len(parts) == 1:
		return func() runtime.Object { return groupList(s.some(false)) }
	case len(parts) == 2 && !legacy:
		if g := s.group(parts[1]); g != nil && parts[1] != "" {
			return func() runtime.Object { return describe(g) }
		}
	case len(parts) == 2 && legacy:
		return s.resources("", parts[1])
	case len(parts) == 3 && !legacy && parts[1] != "":
		return s.resources(parts[1], parts[2])
	}
	return nil
}

func (s *state) group(name string) *group {
	i := slices.IndexFunc(s.groups, func(g group) bool { return g.name == name })
	if i < 0 {
		return nil
	}
	return &s.groups[i]
}

// some returns the core group, or the others.
func (s *state) some(legacy bool) []group {
	return slices.DeleteFunc(slices.Clone(s.groups), func(g group) bool { return (g.name == "") != legacy })
}

func (h *Handler) coreVersions(core []group) *metav1.APIVersions {
	out := &metav1.APIVersions{
		TypeMeta: metav1.TypeMeta{Kind: "APIVersions"}, Versions: []string{},
		ServerAddressByClientCIDRs: []metav1.ServerAddressByClientCIDR{},
	}
	if h.cfg.ServerAddress != "" {
		out.ServerAddressByClientCIDRs = append(out.ServerAddressByClientCIDRs,
			metav1.ServerAddressByClientCIDR{ClientCIDR: "0.0.0.0/0", ServerAddress: h.cfg.ServerAddress})
	}
	for _, g := range core {
		for _, v := range g.versions {
			out.Versions = append(out.Versions, v.name)
		}
	}
	return out
}

func groupList(all []group) *metav1.APIGroupList {
	out := &metav1.APIGroupList{TypeMeta: metav1.TypeMeta{Kind: "APIGroupList", APIVersion: "v1"}, Groups: []metav1.APIGroup{}}
	for i := range all {
		g := describe(&all[i])
		g.TypeMeta = metav1.TypeMeta{}
		out.Groups = append(out.Groups, *g)
	}
	return out
}

func describe(g *group) *metav1.APIGroup {
	out := &metav1.APIGroup{TypeMeta: metav1.TypeMeta{Kind: "APIGroup", APIVersion: "v1"}, Name: g.name}
	for _, v := range g.versions {
		out.Versions = append(out.Versions, metav1.GroupVersionForDiscovery{GroupVersion: g.name + "/" + v.name, Version: v.name})
	}
	if len(out.Versions) > 0 {
		out.PreferredVersion = out.Versions[0]
	}
	return out
}

func (s *state) resources(groupName, name string) func() runtime.Object {
	g := s.group(groupName)
	if g == nil {
		return nil
	}
	for _, v := range g.versions {
		if v.name == name && v.remote == nil { // the other server answers for itself
			return func() runtime.Object { return resourceList(groupName, v) }
		}
	}
	return nil
}

func resourceList(groupName string, v version) *metav1.APIResourceList {
	gv := v.name
	if groupName != "" {
		gv = groupName + "/" + v.name
	}
	out := &metav1.APIResourceList{
		TypeMeta: metav1.TypeMeta{Kind: "APIResourceList", APIVersion: "v1"}, GroupVersion: gv, APIResources: []metav1.APIResource{},
	}
	for _, t := range v.types {
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
