package openapi

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"k8s.io/kube-openapi/pkg/validation/spec"

	"github.com/pintle-dev/pintle/crd/registry"
	"github.com/pintle-dev/pintle/crd/schema"
)

const metaPrefix = "io.k8s.apimachinery.pkg.apis.meta.v1."

// gvkExtension says which kinds a schema or an operation is for.
const gvkExtension = "x-kubernetes-group-version-kind"

// scalars are the components that may be written as one of two types. Clients tell from the
// form of these schemas what to call a field of them.
var scalars = map[string]struct {
	format string
	oneOf  []spec.Schema
}{
	"io.k8s.apimachinery.pkg.api.resource.Quantity":   {oneOf: []spec.Schema{ofType("string"), ofType("number")}},
	"io.k8s.apimachinery.pkg.util.intstr.IntOrString": {"int-or-string", []spec.Schema{ofType("integer"), ofType("string")}},
}

func ofType(name string) spec.Schema {
	return spec.Schema{SchemaProps: spec.SchemaProps{Type: spec.StringOrArray{name}}}
}

// models collects the schemas of a document.
type models struct {
	describe func(string, *schema.Schema) *schema.Schema
	prefix   string
	v2       bool
	done     map[string]spec.Schema
	// roots are where components are looked for.
	roots []*schema.Components
}

// typeModel is how a document names a type's schemas.
type typeModel struct{ object, list string }

func (h *Handler) newModels(prefix string, v2 bool) *models {
	describe := h.cfg.Describe
	if describe == nil {
		describe = func(_ string, s *schema.Schema) *schema.Schema { return s }
	}
	return &models{describe: describe, prefix: prefix, v2: v2, done: map[string]spec.Schema{},
		roots: []*schema.Components{schema.MetaComponents(), {Get: sharedComponent}}}
}

// schemaOf returns a type's schema, or nil where there is none. That of a type that does not
// come with the server may be gone, because its definition was deleted a moment ago, or be
// of no use: nobody else's documents suffer from it.
func schemaOf(t *registry.Type) (*schema.Schema, error) {
	if t.Version.Schema == nil {
		return nil, nil
	}
	s, err := t.Version.Schema()
	switch {
	case err == nil:
		return s, nil
	case t.Definition.Source != registry.BuiltinSource:
		return nil, nil
	}
	return nil, fmt.Errorf("schema of %s: %w", t.GVR, err)
}

// addType adds a type's schema, its list's, and all that they refer to.
func (m *models) addType(t *registry.Type) (typeModel, error) {
	s, err := schemaOf(t)
	if err != nil {
		return typeModel{}, err
	}
	if s == nil {
		s = &schema.Schema{Type: "object", PreserveUnknownFields: true}
	}
	if s.Root != nil && !slices.Contains(m.roots, s.Root) {
		// The components that come with a type are better described than the shared
		// ones here, and are looked at first.
		m.roots = append([]*schema.Components{s.Root}, m.roots...)
	}
	names := typeModel{object: s.Ref}
	switch {
	case names.object == "" && m.v2 && (s.PreserveUnknownFields || t.Definition.PreserveUnknownFields):
		// Clients of version 2 take a list of fields for all there are, so that nothing
		// may be said about an object that can have others.
		names.object = modelName(t)
		m.done[names.object] = spec.Schema{SchemaProps: spec.SchemaProps{Type: spec.StringOrArray{"object"}}}
	case names.object == "":
		names.object = modelName(t)
		m.add(names.object, s.WithMeta())
	default:
		m.need(names.object)
	}
	m.setKind(names.object, t.GVK.Group, t.GVK.Version, t.GVK.Kind)
	if t.Definition.Virtual {
		return names, nil
	}
	names.list = strings.TrimSuffix(names.object, t.GVK.Kind) + t.Definition.Names.ListKind
	if !m.need(names.list) {
		m.add(names.list, listOf(names.object, t))
	}
	m.setKind(names.list, t.GVK.Group, t.GVK.Version, t.Definition.Names.ListKind)
	return names, nil
}

// need adds a component by its name; false where nobody knows it.
func (m *models) need(name string) bool {
	if _, ok := m.done[name]; ok {
		return true
	}
	for _, r := range m.roots {
		if s := r.Get(name); s != nil {
			m.add(name, m.describe(name, s))
			return true
		}
	}
	return false
}

func (m *models) add(name string, s *schema.Schema) {
	var out *spec.Schema
	if m.v2 {
		out = s.OpenAPIV2(m.prefix)
	} else {
		out = s.OpenAPIV3(m.prefix)
	}
	if either, ok := scalars[name]; ok {
		out.Type, out.Format, out.OneOf, out.Extensions = nil, either.format, either.oneOf, nil
		if m.v2 { // which has one type for everything
			out.Type, out.OneOf = spec.StringOrArray{"string"}, nil
		}
	}
	m.done[name] = *out
	for _, ref := range s.References() {
		if !m.need(ref) {
			// A reference that leads nowhere would make the document invalid.
			m.done[ref] = spec.Schema{SchemaProps: spec.SchemaProps{Type: spec.StringOrArray{"object"}}}
		}
	}
	if !m.v2 && strings.HasPrefix(name, "io.k8s.") {
		m.defaultElements(out)
	}
}

// defaultElements gives elements that are objects the default that upstream's generator
// gives whatever is a struct: kubectl goes one level less deep into schemas of themselves
// where an element refers to them outright.
func (m *models) defaultElements(s *spec.Schema) {
	element := func(e *spec.Schema) {
		ref := e.Ref.String()
		if ref == "" {
			m.defaultElements(e)
		} else if t := m.done[strings.TrimPrefix(ref, m.prefix)]; t.Type.Contains("object") {
			*e = spec.Schema{SchemaProps: spec.SchemaProps{Default: map[string]any{}, AllOf: []spec.Schema{*e}}}
		}
	}
	if s.Items != nil && s.Items.Schema != nil {
		element(s.Items.Schema)
	}
	if s.AdditionalProperties != nil && s.AdditionalProperties.Schema != nil {
		element(s.AdditionalProperties.Schema)
	}
	for name, p := range s.Properties {
		m.defaultElements(&p)
		s.Properties[name] = p
	}
}

// setKind notes the kind that a schema is of; clients find schemas by it.
func (m *models) setKind(name, group, version, kind string) {
	s := m.done[name]
	entry := map[string]any{"group": group, "version": version, "kind": kind}
	var kinds []any
	if have, ok := s.Extensions[gvkExtension].([]any); ok {
		for _, k := range have {
			if h, ok := k.(map[string]any); ok && h["group"] == group && h["version"] == version && h["kind"] == kind {
				return
			}
		}
		kinds = have
	}
	extensions := spec.Extensions{}
	for k, v := range s.Extensions {
		extensions[k] = v
	}
	extensions[gvkExtension] = append(slices.Clip(kinds), entry)
	s.Extensions = extensions
	m.done[name] = s
}

func (m *models) ref(name string) *spec.Schema {
	return &spec.Schema{SchemaProps: spec.SchemaProps{Ref: spec.MustCreateRef(m.prefix + name)}}
}

// listOf is the schema of a list of a type that comes without one.
func listOf(object string, t *registry.Type) *schema.Schema {
	return &schema.Schema{
		Type:        "object",
		Description: fmt.Sprintf("%s is a list of %s", t.Definition.Names.ListKind, t.GVK.Kind),
		Required:    []string{"items"},
		Properties: map[string]*schema.Schema{
			"apiVersion": {Type: "string", Description: "The version of the list's schema."},
			"kind":       {Type: "string", Description: "The kind of the list."},
			"metadata":   {Ref: metaPrefix + "ListMeta", Description: "Standard list metadata."},
			"items":      {Type: "array", Description: "List of " + t.Definition.Names.Plural + ".", Items: &schema.Schema{Ref: object}},
		},
	}
}

// modelName of a type whose schema is no component: the group's name reversed, the version
// and the kind, as upstream names those of custom resources. What upstream compiles in has
// names of its own.
func modelName(t *registry.Type) string {
	if t.GVK.Group == "apiextensions.k8s.io" {
		return "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions." + t.GVK.Version + "." + t.GVK.Kind
	}
	if t.Definition.Source == registry.BuiltinSource {
		first, _, _ := strings.Cut(t.GVK.Group, ".")
		if first == "" {
			first = "core"
		}
		return "io.k8s.api." + first + "." + t.GVK.Version + "." + t.GVK.Kind
	}
	parts := strings.Split(t.GVK.Group, ".")
	slices.Reverse(parts)
	return strings.Join(parts, ".") + "." + t.GVK.Version + "." + t.GVK.Kind
}

// subresourceModel is the schema of what is sent to or read from a subresource, or "".
func (m *models) subresourceModel(parent, parentKind string, gvk map[string]string) string {
	kind, group, version := gvk["kind"], gvk["group"], gvk["version"]
	if kind == parentKind {
		return parent
	}
	first, _, _ := strings.Cut(group, ".")
	if first == "" {
		first = "core"
	}
	for _, name := range []string{
		"io.k8s.api." + first + "." + version + "." + kind,
		strings.TrimSuffix(parent, parentKind) + kind,
	} {
		if m.need(name) {
			m.setKind(name, group, version, kind)
			return name
		}
	}
	return ""
}

// sharedComponent returns components that every document needs, for types that come
// without any.
func sharedComponent(name string) *schema.Schema {
	text, ok := shared[name]
	if !ok {
		return nil
	}
	s := &schema.Schema{}
	if err := json.Unmarshal([]byte(text), s); err != nil {
		return nil // a test parses all of them
	}
	return s
}

// shared are kept as text: a server that is never asked pays nothing for them.
var shared = map[string]string{
	metaPrefix + "ListMeta": `{"type":"object","description":"ListMeta describes metadata that lists have.","properties":{
		"continue":{"type":"string","description":"Set where there are more items: a token that is sent to get them."},
		"remainingItemCount":{"type":"integer","format":"int64","description":"The number of items that follow this part of the list, where it is known."},
		"resourceVersion":{"type":"string","description":"The version of the data that the list shows; opaque."},
		"selfLink":{"type":"string","description":"Not set any more."}}}`,
	metaPrefix + "WatchEvent": `{"type":"object","description":"Event represents a single event to a watched resource.","required":["type","object"],"properties":{
		"object":{"type":"object","description":"The new state of the object if it was added or modified, the last one if it was deleted; a Status if type is ERROR."},
		"type":{"type":"string","default":""}}}`,
	metaPrefix + "APIResourceList": `{"type":"object","description":"APIResourceList is a list of APIResource, of the resources in a group and version.","required":["groupVersion","resources"],"properties":{
		"apiVersion":{"type":"string"},"kind":{"type":"string"},
		"groupVersion":{"type":"string","description":"groupVersion is the group and version this APIResourceList is for."},
		"resources":{"type":"array","description":"resources contains the name of the resources and if they are namespaced.","x-kubernetes-list-type":"atomic","items":{"$ref":"` + metaPrefix + `APIResource"}}}}`,
	metaPrefix + "APIResource": `{"type":"object","description":"APIResource specifies the name of a resource and whether it is namespaced.","required":["name","singularName","namespaced","kind","verbs"],"properties":{
		"categories":{"type":"array","items":{"type":"string"},"description":"The grouped resources this resource belongs to (e.g. 'all')."},
		"group":{"type":"string","description":"The preferred group of the resource; empty implies that of the list."},
		"kind":{"type":"string","description":"The kind for the resource (e.g. 'Foo' is the kind for a resource 'foo')."},
		"name":{"type":"string","description":"The plural name of the resource."},
		"namespaced":{"type":"boolean","description":"Whether the resource is namespaced."},
		"shortNames":{"type":"array","items":{"type":"string"},"description":"Suggested short names of the resource."},
		"singularName":{"type":"string","description":"The singular name of the resource."},
		"storageVersionHash":{"type":"string","description":"The hash value of the version the resource is stored in; opaque."},
		"verbs":{"type":"array","items":{"type":"string"},"description":"Supported verbs: get, list, watch, create, update, patch, delete, deletecollection, and proxy."},
		"version":{"type":"string","description":"The preferred version of the resource; empty implies that of the list."}}}`,
	metaPrefix + "Patch": `{"type":"object","description":"Patch is a change to an object, in the form that the content type says."}`,
	metaPrefix + "Preconditions": `{"type":"object","description":"Preconditions must hold before an operation is carried out.","properties":{
		"resourceVersion":{"type":"string","description":"The version that the object must have."},
		"uid":{"type":"string","description":"The UID that the object must have."}}}`,
	metaPrefix + "DeleteOptions": `{"type":"object","description":"DeleteOptions may be given with a delete.","properties":{
		"apiVersion":{"type":"string"},"kind":{"type":"string"},
		"dryRun":{"type":"array","items":{"type":"string"},"x-kubernetes-list-type":"atomic","description":"All: nothing is persisted."},
		"gracePeriodSeconds":{"type":"integer","format":"int64","description":"Seconds before the object is deleted; zero is at once."},
		"orphanDependents":{"type":"boolean","description":"Deprecated: use propagationPolicy."},
		"preconditions":{"$ref":"io.k8s.apimachinery.pkg.apis.meta.v1.Preconditions"},
		"propagationPolicy":{"type":"string","description":"What becomes of dependents: Orphan, Background or Foreground."}}}`,
	metaPrefix + "StatusCause": `{"type":"object","description":"StatusCause says more about a failure.","properties":{
		"field":{"type":"string","description":"The field of the object that caused it."},
		"message":{"type":"string"},"reason":{"type":"string"}}}`,
	metaPrefix + "StatusDetails": `{"type":"object","description":"StatusDetails says what a status is about.","properties":{
		"causes":{"type":"array","items":{"$ref":"io.k8s.apimachinery.pkg.apis.meta.v1.StatusCause"},"x-kubernetes-list-type":"atomic"},
		"group":{"type":"string"},"kind":{"type":"string"},"name":{"type":"string"},
		"retryAfterSeconds":{"type":"integer","format":"int32"},"uid":{"type":"string"}}}`,
	metaPrefix + "Status": `{"type":"object","description":"Status is returned by calls that return no other object.","properties":{
		"apiVersion":{"type":"string"},"kind":{"type":"string"},
		"code":{"type":"integer","format":"int32","description":"The HTTP status code."},
		"details":{"$ref":"io.k8s.apimachinery.pkg.apis.meta.v1.StatusDetails"},
		"message":{"type":"string"},"metadata":{"$ref":"io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta"},
		"reason":{"type":"string"},"status":{"type":"string","description":"Success or Failure."}}}`,
	"io.k8s.api.autoscaling.v1.ScaleSpec": `{"type":"object","description":"ScaleSpec is the wanted size of a scalable resource.","properties":{
		"replicas":{"type":"integer","format":"int32"}}}`,
	"io.k8s.api.autoscaling.v1.ScaleStatus": `{"type":"object","description":"ScaleStatus is the present size of a scalable resource.","required":["replicas"],"properties":{
		"replicas":{"type":"integer","format":"int32"},"selector":{"type":"string"}}}`,
	"io.k8s.api.autoscaling.v1.Scale": `{"type":"object","description":"Scale is the size of a scalable resource.","properties":{
		"apiVersion":{"type":"string"},"kind":{"type":"string"},
		"metadata":{"$ref":"io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"},
		"spec":{"$ref":"io.k8s.api.autoscaling.v1.ScaleSpec"},"status":{"$ref":"io.k8s.api.autoscaling.v1.ScaleStatus"}}}`,
}
