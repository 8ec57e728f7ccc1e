package crdv1

import (
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	structural "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

type props = apiextensionsv1.JSONSchemaProps

// structuralOf returns a schema in structural form, with what upstream's library finds
// wrong with it. err is set where it can't be brought into that form.
func structuralOf(s *props, path *field.Path) (*structural.Structural, field.ErrorList, error) {
	var internal apiextensions.JSONSchemaProps
	if err := apiextensionsv1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(s, &internal, nil); err != nil {
		return nil, nil, fmt.Errorf("convert schema: %w", err)
	}
	st, err := structural.NewStructural(&internal)
	if err != nil {
		return nil, nil, err
	}
	return st, structural.ValidateStructural(path, st), nil
}

// validateSchema checks the schema of a version at path, the parent of openAPIV3Schema.
func validateSchema(ctx context.Context, s *props, path *field.Path, statusSubresource bool) (errs field.ErrorList) {
	at := path.Child("openAPIV3Schema")
	if statusSubresource {
		errs = append(errs, validateRootFields(s, path)...)
	}
	if s.Nullable {
		errs = append(errs, field.Forbidden(path.Child("openAPIV3Schema.nullable"), "nullable cannot be true at the root"))
	}
	st, structuralErrs, structuralErr := structuralOf(s, at)
	var rules *ruleChecker
	switch {
	case structuralErr != nil:
	case len(structuralErrs) > 0:
		errs = append(errs, structuralErrs...)
	default:
		defaultErrs, err := defaulting.ValidateDefaults(ctx, at, st, true, true)
		if err != nil {
			errs = append(errs, field.Invalid(at, "", err.Error()))
		}
		errs = append(errs, defaultErrs...)
		if err == nil && len(defaultErrs) == 0 {
			rules = newRuleChecker()
		}
	}
	w := &schemaWalker{}
	w.walk(s, at, scope{root: true})
	errs = append(errs, w.errs...)
	if len(errs) == 0 && structuralErr != nil {
		// It repeats, less clearly, what the walk finds.
		errs = append(errs, field.Invalid(at, "", structuralErr.Error()))
	}
	if len(errs) == 0 && rules != nil {
		errs = append(errs, rules.check(st, at)...)
	}
	return errs
}

// rootFields may stand at the root of a schema with the status subresource, from which
// the schema of status is taken apart.
var rootFields = []string{"Description", "Type", "Format", "Title", "Maximum", "ExclusiveMaximum", "Minimum", "ExclusiveMinimum", "MaxLength", "MinLength", "Pattern", "MaxItems", "MinItems", "UniqueItems", "MultipleOf", "Required", "Items", "Properties", "ExternalDocs", "Example", "XPreserveUnknownFields", "XValidations"}

func validateRootFields(s *props, path *field.Path) field.ErrorList {
	v := reflect.ValueOf(s).Elem()
	for i := range v.NumField() {
		name := v.Type().Field(i).Name
		if v.Field(i).IsZero() {
			continue
		}
		if name == "Type" && s.Type != "object" {
			return field.ErrorList{field.Invalid(path.Child("openAPIV3Schema.type"), s.Type, `only "object" is allowed as the type at the root of the schema if the status subresource is enabled`)}
		}
		if !slices.Contains(rootFields, name) {
			return field.ErrorList{field.Invalid(path.Child("openAPIV3Schema"), shownSchema(s), fmt.Sprintf(`only %v fields are allowed at the root of the schema if the status subresource is enabled`, rootFields))}
		}
	}
	return nil
}

// scope is what a schema's surroundings forbid.
type scope struct {
	root bool
	// inMeta is set within apiVersion, kind and metadata of a resource.
	inMeta bool
	// noDefaults says why defaults are forbidden, if they are.
	noDefaults string
}

// schemaWalker makes the checks of single schemas that are not those of structure.
type schemaWalker struct{ errs field.ErrorList }

func (w *schemaWalker) forbid(when bool, path *field.Path, detail string) {
	if when {
		w.errs = append(w.errs, field.Forbidden(path, detail))
	}
}

func (w *schemaWalker) invalid(path *field.Path, value any, detail string) {
	w.errs = append(w.errs, field.Invalid(path, value, detail))
}

var schemaTypes = []string{"array", "boolean", "integer", "number", "object", "string"}

func (w *schemaWalker) walk(s *props, path *field.Path, in scope) {
	if s == nil {
		return
	}
	if s.Type != "" && !slices.Contains(schemaTypes, s.Type) {
		w.errs = append(w.errs, field.NotSupported(path.Child("type"), s.Type, schemaTypes))
	}
	w.forbid(s.Default != nil && in.noDefaults != "", path.Child("default"), "must not be set "+in.noDefaults)
	w.forbid(s.ID != "", path.Child("id"), "id is not supported")
	w.forbid(s.AdditionalItems != nil, path.Child("additionalItems"), "additionalItems is not supported")
	w.forbid(len(s.PatternProperties) != 0, path.Child("patternProperties"), "patternProperties is not supported")
	w.forbid(len(s.Definitions) != 0, path.Child("definitions"), "definitions is not supported")
	w.forbid(s.Dependencies != nil, path.Child("dependencies"), "dependencies is not supported")
	w.forbid(s.Ref != nil, path.Child("$ref"), "$ref is not supported")
	w.forbid(s.Type == "null", path.Child("type"), "type cannot be set to null, use nullable as an alternative")
	w.forbid(s.Items != nil && len(s.Items.JSONSchemas) != 0, path.Child("items"), "items must be a schema object and not an array")
	w.forbid(in.inMeta && s.XEmbeddedResource, path.Child("x-kubernetes-embedded-resource"), "must not be used inside of resource meta")
	w.forbid(s.UniqueItems, path.Child("uniqueItems"), "uniqueItems cannot be set to true since the runtime complexity becomes quadratic")

	below := in
	below.root = false
	if a := s.AdditionalProperties; a != nil {
		w.forbid(len(s.Properties) != 0 && (!a.Allows || a.Schema != nil), path.Child("additionalProperties"), "additionalProperties and properties are mutual exclusive")
		values := below
		if in.inMeta {
			values.noDefaults = "inside additionalProperties applying to object metadata"
		}
		w.walk(a.Schema, path.Child("additionalProperties"), values)
	}
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		p := s.Properties[name]
		member := below
		if (in.root || s.XEmbeddedResource) && (name == "metadata" || name == "kind" || name == "apiVersion") {
			member.inMeta = true
			if in.root {
				member.noDefaults = "in top-level " + name
			}
		}
		w.walk(&p, path.Child("properties").Key(name), member)
	}
	w.walk(s.Not, path.Child("not"), below)
	for name, list := range map[string][]props{"allOf": s.AllOf, "oneOf": s.OneOf, "anyOf": s.AnyOf} {
		for i := range list {
			w.walk(&list[i], path.Child(name).Index(i), below)
		}
	}
	if s.Items != nil {
		w.walk(s.Items.Schema, path.Child("items"), below)
	}
	if s.XPreserveUnknownFields != nil && !*s.XPreserveUnknownFields {
		w.invalid(path.Child("x-kubernetes-preserve-unknown-fields"), false, "must be true or undefined")
	}
	w.topology(s, path)
	w.rules(s, path)
}

// needsType checks that an extension stands beside the type it is for.
func (w *schemaWalker) needsType(s *props, path *field.Path, want, extension string) bool {
	detail := fmt.Sprintf("must be %s if %s is specified", want, extension)
	switch s.Type {
	case want:
		return true
	case "":
		w.errs = append(w.errs, field.Required(path.Child("type"), detail))
	default:
		w.invalid(path.Child("type"), s.Type, detail)
	}
	return false
}

// topology checks x-kubernetes-map-type, x-kubernetes-list-type and
// x-kubernetes-list-map-keys.
func (w *schemaWalker) topology(s *props, path *field.Path) {
	listAt, keysAt, items := path.Child("x-kubernetes-list-type"), path.Child("x-kubernetes-list-map-keys"), path.Child("items")
	if s.XMapType != nil {
		w.needsType(s, path, "object", "x-kubernetes-map-type")
		if *s.XMapType != "atomic" && *s.XMapType != "granular" {
			w.errs = append(w.errs, field.NotSupported(path.Child("x-kubernetes-map-type"), *s.XMapType, []string{"atomic", "granular"}))
		}
	}
	var item *props
	if s.Items != nil {
		item = s.Items.Schema
	}
	if s.XListType == nil {
		if len(s.XListMapKeys) > 0 {
			w.errs = append(w.errs, field.Required(listAt, "must be map if x-kubernetes-list-map-keys is non-empty"))
		}
		return
	}
	listType := *s.XListType
	if w.needsType(s, path, "array", "x-kubernetes-list-type") && listType == "set" && item != nil {
		const detail = "must be atomic as item of a list with x-kubernetes-list-type=set"
		if item.Type == "array" && item.XListType != nil && *item.XListType != "atomic" {
			w.invalid(items.Child("x-kubernetes-list-type"), item.XListType, detail)
		}
		if item.Type == "object" && (item.XMapType == nil || *item.XMapType != "atomic") {
			w.invalid(items.Child("x-kubernetes-map-type"), item.XListType, detail)
		}
	}
	if listType != "atomic" && listType != "set" && listType != "map" {
		w.errs = append(w.errs, field.NotSupported(listAt, listType, []string{"atomic", "set", "map"}))
	}
	if len(s.XListMapKeys) > 0 && listType != "map" {
		w.invalid(listAt, listType, "must be map if x-kubernetes-list-map-keys is non-empty")
	}
	if listType == "map" {
		if len(s.XListMapKeys) == 0 {
			w.errs = append(w.errs, field.Required(keysAt, "must not be empty if x-kubernetes-list-type is map"))
		}
		switch {
		case s.Items == nil:
			w.errs = append(w.errs, field.Required(items, "must have a schema if x-kubernetes-list-type is map"))
		case item == nil:
			w.invalid(items, s.Items, "must only have a single schema if x-kubernetes-list-type is map")
		case item.Type != "object":
			w.invalid(items.Child("type"), item.Type, "must be object if parent array's x-kubernetes-list-type is map")
		default:
			w.mapKeys(s, item, path)
		}
	}
	if item != nil && item.Nullable && (listType == "set" || listType == "map") {
		w.forbid(true, items.Child("nullable"), "cannot be nullable when x-kubernetes-list-type is "+listType)
	}
}

func (w *schemaWalker) mapKeys(s, item *props, path *field.Path) {
	keysAt, properties := path.Child("x-kubernetes-list-map-keys"), path.Child("items").Child("properties")
	for i, key := range s.XListMapKeys {
		p, ok := item.Properties[key]
		if !ok {
			w.invalid(keysAt, s.XListMapKeys, "entries must all be names of item properties")
		} else if p.Type == "array" || p.Type == "object" {
			w.invalid(properties.Key(key).Child("type"), item.Type, "must be a scalar type if parent array's x-kubernetes-list-type is map")
		}
		if slices.Contains(s.XListMapKeys[:i], key) {
			w.invalid(keysAt, s.XListMapKeys, "must not contain duplicate entries")
		}
		if !ok {
			continue
		}
		if !slices.Contains(item.Required, key) && p.Default == nil {
			w.errs = append(w.errs, field.Required(properties.Key(key).Child("default"), "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property"))
		}
		w.forbid(p.Nullable, properties.Key(key).Child("nullable"), "this property is in x-kubernetes-list-map-keys, so it cannot be nullable")
	}
}

// fieldPathValid reports whether a rule's fieldPath leads to a field of the schema.
func fieldPathValid(s *props, path string) bool {
	st, _, err := structuralOf(s, nil)
	if err != nil {
		return true // told elsewhere
	}
	_, _, err = cel.ValidFieldPath(path, st)
	return err == nil
}
