package openapi

import (
	"slices"
	"strings"

	"github.com/pintle-dev/pintle/crd"
	"github.com/pintle-dev/pintle/crd/registry"
)

// operation is one method of one path, in the terms that both versions share.
type operation struct {
	path, method string // "get", "put", "post", "delete", "patch"
	id           string
	// action is x-kubernetes-action.
	action      string
	description string
	kind        map[string]string // group, version, kind
	parameters  []string          // names of query parameters
	// body and answer name schemas; empty where there is none.
	body, answer string
	// codes that answer comes with.
	codes []int
	// patches are the media types that a patch may have.
	patches []string
	stream  bool
}

// queryParameters by name: their JSON type and what they do.
var queryParameters = map[string][2]string{
	"allowWatchBookmarks":  {"boolean", "allowWatchBookmarks requests watch events with type \"BOOKMARK\"."},
	"continue":             {"string", "The continue token of the previous part of a list."},
	"dryRun":               {"string", "When present, modifications are not persisted. Valid value: All."},
	"fieldManager":         {"string", "fieldManager names who makes the changes; at most 128 printable characters. Required for apply."},
	"fieldSelector":        {"string", "A selector to restrict the objects by their fields."},
	"fieldValidation":      {"string", "What is done about unknown or duplicate fields: Ignore, Warn (the default) or Strict."},
	"force":                {"boolean", "Force takes fields over that others own. Only for apply."},
	"gracePeriodSeconds":   {"integer", "Seconds before the object is deleted; zero is at once."},
	"labelSelector":        {"string", "A selector to restrict the objects by their labels."},
	"limit":                {"integer", "The greatest number of objects in one answer; the rest is read with continue."},
	"pretty":               {"string", "If 'true', the output is indented."},
	"propagationPolicy":    {"string", "What becomes of dependents: Orphan, Background or Foreground."},
	"resourceVersion":      {"string", "Constrains the version of the data that is read."},
	"resourceVersionMatch": {"string", "How resourceVersion is applied to lists: Exact or NotOlderThan."},
	"sendInitialEvents":    {"boolean", "Begin a watch with the objects that are there, ended by a bookmark."},
	"timeoutSeconds":       {"integer", "Seconds after which a list or watch is ended."},
	"watch":                {"boolean", "Stream changes instead of listing. Specify resourceVersion."},
}

var (
	listParameters = []string{"allowWatchBookmarks", "continue", "fieldSelector", "labelSelector", "limit", "pretty",
		"resourceVersion", "resourceVersionMatch", "sendInitialEvents", "timeoutSeconds", "watch"}
	createParameters = []string{"dryRun", "fieldManager", "fieldValidation", "pretty"}
	patchParameters  = []string{"dryRun", "fieldManager", "fieldValidation", "force", "pretty"}
	deleteParameters = []string{"dryRun", "gracePeriodSeconds", "pretty", "propagationPolicy"}
)

// operations of a type.
func operations(t *registry.Type, names typeModel, m *models) []operation {
	b := builder{t: t, names: names, m: m, scope: "", group: idGroup(t)}
	base := "/apis/" + t.GVK.Group + "/" + t.GVK.Version + "/"
	if t.GVK.Group == "" {
		base = "/api/" + t.GVK.Version + "/"
	}
	plural := t.Definition.Names.Plural
	collection := base + plural
	if t.Definition.Namespaced() {
		collection = base + "namespaces/{namespace}/" + plural
		b.scope = "Namespaced"
	}
	b.kind = map[string]string{"group": t.GVK.Group, "version": t.GVK.Version, "kind": t.GVK.Kind}
	b.collection(collection)
	if t.Definition.Namespaced() && b.does("list") {
		b.add(operation{path: base + plural, method: "get", id: "list" + b.group + t.GVK.Kind + "ForAllNamespaces", action: "list",
			description: "list or watch objects of kind " + t.GVK.Kind, parameters: listParameters, answer: names.list, codes: []int{200}})
	}
	b.watches(base, strings.TrimPrefix(collection, base))
	b.item(collection+"/{name}", "", "")
	b.subresources(collection + "/{name}/")
	return b.out
}

type builder struct {
	t            *registry.Type
	names        typeModel
	m            *models
	kind         map[string]string
	scope, group string
	out          []operation
}

func (b *builder) add(o operation) {
	if o.kind == nil {
		o.kind = b.kind
	}
	b.out = append(b.out, o)
}

func (b *builder) does(verb string) bool {
	verbs := b.t.Version.Verbs
	if len(verbs) == 0 {
		return verb == "create" || !b.t.Definition.Virtual
	}
	return slices.Contains(verbs, verb)
}

func (b *builder) collection(path string) {
	kind := b.t.GVK.Kind
	if b.does("list") {
		b.add(operation{path: path, method: "get", id: "list" + b.group + b.scope + kind, action: "list",
			description: "list or watch objects of kind " + kind, parameters: listParameters, answer: b.names.list, codes: []int{200}})
	}
	if b.does("create") {
		b.add(operation{path: path, method: "post", id: "create" + b.group + b.scope + kind, action: "post",
			description: "create " + article(kind), parameters: createParameters, body: b.names.object, answer: b.names.object, codes: []int{200, 201, 202}})
	}
	if b.does("deletecollection") {
		b.m.need(metaPrefix + "Status")
		b.m.need(metaPrefix + "DeleteOptions")
		b.add(operation{path: path, method: "delete", id: "delete" + b.group + "Collection" + b.scope + kind, action: "deletecollection",
			description: "delete collection of " + kind,
			parameters:  []string{"continue", "dryRun", "fieldSelector", "gracePeriodSeconds", "labelSelector", "limit", "pretty", "propagationPolicy", "resourceVersion", "resourceVersionMatch", "sendInitialEvents", "timeoutSeconds"},
			body:        metaPrefix + "DeleteOptions", answer: metaPrefix + "Status", codes: []int{200}})
	}
}

// watches adds the old form of watches, by paths of their own, which types have that come
// with the server.
func (b *builder) watches(base, collection string) {
	if b.t.Definition.Source != registry.BuiltinSource || !b.does("watch") {
		return
	}
	b.m.need(metaPrefix + "WatchEvent")
	kind := b.t.GVK.Kind
	add := func(path, action, id, what string) {
		b.add(operation{path: base + "watch/" + path, method: "get", id: "watch" + b.group + id, action: action,
			description: what + ". deprecated: use the 'watch' parameter with a list operation instead",
			parameters:  listParameters, answer: metaPrefix + "WatchEvent", codes: []int{200}})
	}
	add(collection, "watchlist", b.scope+kind+"List", "watch individual changes to a list of "+kind)
	if b.scope != "" {
		add(b.t.Definition.Names.Plural, "watchlist", kind+"ListForAllNamespaces", "watch individual changes to a list of "+kind)
	}
	add(collection+"/{name}", "watch", b.scope+kind, "watch changes to an object of kind "+kind)
}

// resourcesOf is the operation that lists the resources of a group version.
func resourcesOf(gv groupVersion, m *models) operation {
	m.need(metaPrefix + "APIResourceList")
	return operation{path: "/" + gv.id + "/", method: "get", id: "get" + idGroup(gv.types[0]) + "APIResources",
		description: "get available resources", answer: metaPrefix + "APIResourceList", codes: []int{200}}
}

// item adds get, put, patch and delete of an object, or but for delete of its status or
// scale.
func (b *builder) item(path, sub, model string) {
	kind := b.t.GVK.Kind
	gvk := b.kind
	object := b.names.object
	what := article(kind)
	if sub != "" {
		what = strings.ToLower(sub) + " of " + what
	}
	if sub == "Scale" {
		gvk = map[string]string{"group": "autoscaling", "version": "v1", "kind": "Scale"}
	}
	if model != "" {
		object = model
	}
	id := b.group + b.scope + kind + sub
	if b.does("get") {
		b.add(operation{path: path, method: "get", id: "read" + id, action: "get", kind: gvk,
			description: "read " + what, parameters: []string{"pretty"}, answer: object, codes: []int{200}})
	}
	if b.does("update") {
		b.add(operation{path: path, method: "put", id: "replace" + id, action: "put", kind: gvk,
			description: "replace " + what, parameters: createParameters, body: object, answer: object, codes: []int{200, 201}})
	}
	if b.does("patch") {
		b.m.need(metaPrefix + "Patch")
		patches := []string{"application/apply-patch+yaml", "application/json-patch+json", "application/merge-patch+json"}
		if b.t.Definition.Source == registry.BuiltinSource {
			patches = append(patches, "application/strategic-merge-patch+json")
		}
		b.add(operation{path: path, method: "patch", id: "patch" + id, action: "patch", kind: gvk,
			description: "partially update " + what, parameters: patchParameters, body: metaPrefix + "Patch", answer: object, codes: []int{200, 201}, patches: patches})
	}
	if sub == "" && b.does("delete") {
		b.m.need(metaPrefix + "Status")
		b.m.need(metaPrefix + "DeleteOptions")
		b.add(operation{path: path, method: "delete", id: "delete" + id, action: "delete",
			description: "delete " + what, parameters: deleteParameters, body: metaPrefix + "DeleteOptions", answer: metaPrefix + "Status", codes: []int{200, 202}})
	}
}

func (b *builder) subresources(path string) {
	v := b.t.Version
	if v.Status {
		b.item(path+"status", "Status", "")
	}
	if v.Scale != nil {
		b.m.need("io.k8s.api.autoscaling.v1.Scale")
		b.m.setKind("io.k8s.api.autoscaling.v1.Scale", "autoscaling", "v1", "Scale")
		b.item(path+"scale", "Scale", "io.k8s.api.autoscaling.v1.Scale")
	}
	for _, s := range v.Subresources {
		b.subresource(path, s)
	}
}

var verbMethods = map[string][2]string{
	"get": {"get", "read"}, "create": {"post", "create"}, "update": {"put", "replace"}, "patch": {"patch", "patch"}, "delete": {"delete", "delete"},
}

func (b *builder) subresource(path string, s crd.Subresource) {
	gvk := map[string]string{"group": s.Group, "version": s.Version, "kind": s.Kind}
	if s.Group == "" && s.Version == "" {
		gvk["group"], gvk["version"] = b.t.GVK.Group, b.t.GVK.Version
	}
	id := b.group
	tail := b.scope + b.t.GVK.Kind + capital(s.Name)
	if s.Connect {
		for _, verb := range s.Verbs {
			m := verbMethods[verb]
			paths := []string{path + s.Name}
			if s.Name == "proxy" {
				paths = append(paths, path+s.Name+"/{path}")
			}
			for i, p := range paths {
				o := operation{path: p, method: m[0], id: "connect" + id + capital(m[0]) + tail, action: "connect", kind: gvk,
					description: "connect " + strings.ToUpper(m[0]) + " requests to " + s.Name + " of " + b.t.GVK.Kind, codes: []int{200}, stream: true}
				if i > 0 {
					o.id += "WithPath"
				}
				b.add(o)
			}
		}
		return
	}
	model := b.m.subresourceModel(b.names.object, b.t.GVK.Kind, gvk)
	for _, verb := range s.Verbs {
		m, ok := verbMethods[verb]
		if !ok {
			continue
		}
		o := operation{path: path + s.Name, method: m[0], id: m[1] + id + tail, action: m[0], kind: gvk,
			description: m[1] + " " + s.Name + " of " + article(b.t.GVK.Kind), answer: model, body: model, codes: []int{200, 201}, parameters: createParameters}
		switch verb {
		case "get":
			o.body, o.codes, o.parameters = "", []int{200}, []string{"pretty"}
		case "create":
			o.codes = []int{200, 201, 202}
		case "patch":
			b.m.need(metaPrefix + "Patch")
			o.body, o.parameters = metaPrefix+"Patch", patchParameters
			o.patches = []string{"application/apply-patch+yaml", "application/json-patch+json", "application/merge-patch+json", "application/strategic-merge-patch+json"}
		}
		b.add(o)
	}
}

// pathParameters are the names in braces of a path.
func pathParameters(path string) []string {
	var out []string
	for part := range strings.SplitSeq(path, "/") {
		if name, ok := strings.CutPrefix(part, "{"); ok {
			out = append(out, strings.TrimSuffix(name, "}"))
		}
	}
	return out
}

var pathDescriptions = map[string]string{
	"name":      "name of the object",
	"namespace": "object name and auth scope, such as for teams and projects",
	"path":      "path to the resource",
}

// idGroup is the part of an operation's id that says group and version: CoreV1, AppsV1,
// ExampleDevV1.
func idGroup(t *registry.Type) string {
	if t.GVK.Group == "" {
		return "Core" + capital(t.GVK.Version)
	}
	name := strings.TrimSuffix(t.GVK.Group, ".k8s.io")
	var out strings.Builder
	for part := range strings.SplitSeq(name, ".") {
		if name != t.GVK.Group && out.Len() > 0 {
			break // upstream's groups go by their first part
		}
		out.WriteString(capital(part))
	}
	return out.String() + capital(t.GVK.Version)
}

func capital(s string) string {
	if s == "" {
		return ""
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

func article(kind string) string { return "the specified " + kind }
