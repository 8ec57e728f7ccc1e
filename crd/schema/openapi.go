package schema

import (
	"encoding/json"
	"maps"
	"slices"

	"k8s.io/kube-openapi/pkg/validation/spec"
)

// OpenAPIV3 returns the schema as OpenAPI v3, with references prefixed by refPrefix, such
// as "#/components/schemas/". References are kept; References lists them.
func (s *Schema) OpenAPIV3(refPrefix string) *spec.Schema {
	return s.openAPI(refPrefix, false)
}

// OpenAPIV2 is OpenAPIV3 without what OpenAPI v2 does not have: defaults of references,
// nullable, anyOf, oneOf and not. An allOf is dropped with them, as upstream does.
func (s *Schema) OpenAPIV2(refPrefix string) *spec.Schema {
	return s.openAPI(refPrefix, true)
}

// References returns the names of the components that the schema refers to, directly, in
// order.
func (s *Schema) References() []string {
	seen := map[string]bool{}
	var visit func(*Schema)
	visit = func(c *Schema) {
		if c.Ref != "" {
			seen[c.Ref] = true
		}
		c.children(visit)
	}
	visit(s)
	return slices.Sorted(maps.Keys(seen))
}

func (s *Schema) openAPI(refPrefix string, v2 bool) *spec.Schema {
	if s == nil {
		return nil
	}
	out := &spec.Schema{}
	out.Description = s.Description
	s.addExtensions(out)
	if ref := s.reference(); ref != "" {
		target := spec.Schema{}
		target.Ref = spec.MustCreateRef(refPrefix + ref)
		if v2 {
			// Version 2 allows a description beside a reference.
			out.Ref = target.Ref
			return out
		}
		out.Default = rawValue(s.Default)
		if out.Description == "" && out.Default == nil && len(out.Extensions) == 0 {
			return &target
		}
		// Version 3.0 ignores what stands beside a reference.
		out.AllOf = []spec.Schema{target}
		return out
	}
	if s.Type != "" {
		out.Type = spec.StringOrArray{s.Type}
	}
	out.Format = s.Format
	out.Default = rawValue(s.Default)
	out.Required = s.Required
	for _, e := range s.Enum {
		out.Enum = append(out.Enum, rawValue(e))
	}
	out.Pattern = s.Pattern
	out.MinLength, out.MaxLength = s.MinLength, s.MaxLength
	out.Minimum, out.Maximum, out.MultipleOf = s.Minimum, s.Maximum, s.MultipleOf
	out.ExclusiveMinimum, out.ExclusiveMaximum = s.ExclusiveMinimum, s.ExclusiveMaximum
	out.MinItems, out.MaxItems, out.UniqueItems = s.MinItems, s.MaxItems, s.UniqueItems
	out.MinProperties, out.MaxProperties = s.MinProperties, s.MaxProperties

	// Version 2 says nothing about the fields of an object that may have others.
	open := v2 && s.PreserveUnknownFields
	if s.Properties != nil && !open {
		out.Properties = make(map[string]spec.Schema, len(s.Properties))
		for name, p := range s.Properties {
			out.Properties[name] = *p.openAPI(refPrefix, v2)
		}
	}
	if s.AdditionalProperties != nil {
		out.AdditionalProperties = &spec.SchemaOrBool{Allows: true, Schema: s.AdditionalProperties.openAPI(refPrefix, v2)}
	}
	if s.Items != nil {
		out.Items = &spec.SchemaOrArray{Schema: s.Items.openAPI(refPrefix, v2)}
	}
	if v2 {
		if s.Nullable || open {
			// A client that checks types against version 2 would refuse null.
			out.Type, out.Properties, out.Items = nil, nil, nil
		}
		return out
	}
	out.Nullable = s.Nullable
	list := func(in []*Schema) (l []spec.Schema) {
		for _, c := range in {
			l = append(l, *c.openAPI(refPrefix, v2))
		}
		return l
	}
	out.AllOf, out.AnyOf, out.OneOf = list(s.AllOf), list(s.AnyOf), list(s.OneOf)
	out.Not = s.Not.openAPI(refPrefix, v2)
	return out
}

func (s *Schema) addExtensions(out *spec.Schema) {
	add := func(present bool, name string, value any) {
		if present {
			out.AddExtension(name, value)
		}
	}
	add(s.IntOrString, "x-kubernetes-int-or-string", true)
	add(s.PreserveUnknownFields, "x-kubernetes-preserve-unknown-fields", true)
	add(s.EmbeddedResource, "x-kubernetes-embedded-resource", true)
	add(s.ListType != "", "x-kubernetes-list-type", s.ListType)
	add(len(s.ListMapKeys) > 0, "x-kubernetes-list-map-keys", anySlice(s.ListMapKeys))
	add(s.MapType != "", "x-kubernetes-map-type", s.MapType)
	add(s.PatchStrategy != "", "x-kubernetes-patch-strategy", s.PatchStrategy)
	add(s.PatchMergeKey != "", "x-kubernetes-patch-merge-key", s.PatchMergeKey)
	add(len(s.Validations) > 0, "x-kubernetes-validations", anySlice(s.Validations))
}

func anySlice[T any](in []T) []any {
	out := make([]any, len(in))
	for i, v := range in {
		out[i] = v
	}
	return out
}

// rawValue decodes JSON that has been checked before; what does not decode is left out.
func rawValue(raw json.RawMessage) any {
	if len(raw) == 0 {
		return nil
	}
	v, err := parseDefault(raw)
	if err != nil {
		return nil
	}
	return v
}
