package crdv1

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"k8s.io/apiextensions-apiserver/pkg/apihelpers"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apimachinery/pkg/api/equality"
	metavalidation "k8s.io/apimachinery/pkg/api/validation"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// maxSelectableFields is how many selectable fields a version may have.
const maxSelectableFields = 8

// Validate checks a CustomResourceDefinition that has its defaults; old is nil on create.
// Paths, reasons and messages are upstream's. A version whose schema does not change is
// not checked again.
func Validate(ctx context.Context, c, old *apiextensionsv1.CustomResourceDefinition) field.ErrorList {
	var errs field.ErrorList
	meta := field.NewPath("metadata")
	if old == nil {
		errs = metavalidation.ValidateObjectMeta(&c.ObjectMeta, false, func(name string, prefix bool) []string {
			msgs := metavalidation.NameIsDNSSubdomain(name, prefix)
			if name != c.Spec.Names.Plural+"."+c.Spec.Group {
				msgs = append(msgs, `must be spec.names.plural+"."+spec.group`)
			}
			return msgs
		}, meta)
	} else {
		errs = metavalidation.ValidateObjectMetaUpdate(&c.ObjectMeta, &old.ObjectMeta, meta)
	}
	spec := field.NewPath("spec")
	errs = append(errs, validateSpec(ctx, c, old, spec)...)
	if old != nil {
		if apihelpers.IsCRDConditionTrue(old, apiextensionsv1.Established) {
			errs = append(errs, metavalidation.ValidateImmutableField(c.Spec.Scope, old.Spec.Scope, spec.Child("scope"))...)
			errs = append(errs, metavalidation.ValidateImmutableField(c.Spec.Names.Kind, old.Spec.Names.Kind, spec.Child("names", "kind"))...)
		}
		errs = append(errs, metavalidation.ValidateImmutableField(c.Spec.Group, old.Spec.Group, spec.Child("group"))...)
		errs = append(errs, metavalidation.ValidateImmutableField(c.Spec.Names.Plural, old.Spec.Names.Plural, spec.Child("names", "plural"))...)
	}
	errs = append(errs, validateNames(&c.Status.AcceptedNames, field.NewPath("status", "acceptedNames"))...)
	errs = append(errs, validateStoredVersions(c)...)
	errs = append(errs, validateApproval(c, old)...)
	if c.Spec.PreserveUnknownFields && (old == nil || !old.Spec.PreserveUnknownFields) {
		errs = append(errs, field.Invalid(spec.Child("preserveUnknownFields"), true,
			"cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead"))
	}
	return errs
}

// ValidateStatus checks an update of the status subresource.
func ValidateStatus(c, old *apiextensionsv1.CustomResourceDefinition) field.ErrorList {
	errs := metavalidation.ValidateObjectMetaUpdate(&c.ObjectMeta, &old.ObjectMeta, field.NewPath("metadata"))
	return append(errs, validateNames(&c.Status.AcceptedNames, field.NewPath("status", "acceptedNames"))...)
}

func validateSpec(ctx context.Context, c, old *apiextensionsv1.CustomResourceDefinition, path *field.Path) (errs field.ErrorList) {
	spec := &c.Spec
	group := path.Child("group")
	if spec.Group == "" {
		errs = append(errs, field.Required(group, ""))
	} else if msgs := utilvalidation.IsDNS1123Subdomain(spec.Group); len(msgs) > 0 {
		errs = append(errs, field.Invalid(group, spec.Group, strings.Join(msgs, ",")))
	} else if !strings.Contains(spec.Group, ".") {
		errs = append(errs, field.Invalid(group, spec.Group, "should be a domain with at least one dot"))
	}
	errs = append(errs, oneOf(path.Child("scope"), spec.Scope, apiextensionsv1.ClusterScoped, apiextensionsv1.NamespaceScoped)...)

	versions := path.Child("versions")
	storage := 0
	seen := map[string]bool{}
	unique := true
	for i := range spec.Versions {
		v := &spec.Versions[i]
		if v.Storage {
			storage++
		}
		unique = unique && !seen[v.Name]
		seen[v.Name] = true
		if msgs := utilvalidation.IsDNS1035Label(v.Name); len(msgs) > 0 {
			errs = append(errs, field.Invalid(versions.Index(i).Child("name"), v.Name, strings.Join(msgs, ",")))
		}
		if v.Schema == nil || v.Schema.OpenAPIV3Schema == nil {
			errs = append(errs, field.Required(versions.Index(i).Child("schema", "openAPIV3Schema"), ""))
		}
		for _, msg := range deprecationWarning(v.Deprecated, v.DeprecationWarning) {
			errs = append(errs, field.Invalid(versions.Index(i).Child("deprecationWarning"), v.DeprecationWarning, msg))
		}
	}
	errs = append(errs, validateVersions(ctx, c, old, path)...)
	if !unique {
		errs = append(errs, field.Invalid(versions, shownVersions(spec), "must contain unique version names"))
	}
	if len(spec.Versions) > 0 {
		// The first version is also the one of upstream's deprecated field.
		if msgs := utilvalidation.IsDNS1035Label(spec.Versions[0].Name); len(msgs) > 0 {
			errs = append(errs, field.Invalid(path.Child("version"), spec.Versions[0].Name, strings.Join(msgs, ",")))
		}
	}
	if storage != 1 {
		errs = append(errs, field.Invalid(versions, shownVersions(spec), "must have exactly one version marked as storage version"))
	}
	names := path.Child("names")
	for _, n := range []struct{ field, value string }{
		{"plural", spec.Names.Plural}, {"singular", spec.Names.Singular}, {"kind", spec.Names.Kind}, {"listKind", spec.Names.ListKind},
	} {
		if n.value == "" {
			errs = append(errs, field.Required(names.Child(n.field), ""))
		}
	}
	errs = append(errs, validateNames(&spec.Names, names)...)
	return append(errs, validateConversion(c, old, path.Child("conversion"))...)
}

// validateVersions checks what each version has of its own. What all versions have alike
// is reported once, at spec, where upstream keeps it internally.
func validateVersions(ctx context.Context, c, old *apiextensionsv1.CustomResourceDefinition, path *field.Path) (errs field.ErrorList) {
	versions := c.Spec.Versions
	if len(versions) == 0 {
		return nil
	}
	alike := func(get func(*apiextensionsv1.CustomResourceDefinitionVersion) any) bool {
		for i := range versions {
			if !equality.Semantic.DeepEqual(get(&versions[i]), get(&versions[0])) {
				return false
			}
		}
		return true
	}
	type version = apiextensionsv1.CustomResourceDefinitionVersion
	each := func(get func(*version) any, check func(v *version, at *field.Path)) {
		if alike(get) {
			check(&versions[0], path)
			return
		}
		for i := range versions {
			check(&versions[i], path.Child("versions").Index(i))
		}
	}
	schemaName := "schema"
	schemaOf := func(v *version) any { return v.Schema }
	if alike(schemaOf) {
		schemaName = "validation"
	}
	each(schemaOf, func(v *version, at *field.Path) {
		if v.Schema == nil || v.Schema.OpenAPIV3Schema == nil || sameSchema(v, old) {
			return
		}
		status := slices.ContainsFunc(versions, func(o version) bool {
			return (schemaName == "validation" || o.Name == v.Name) && o.Subresources != nil && o.Subresources.Status != nil
		})
		errs = append(errs, validateSchema(ctx, v.Schema.OpenAPIV3Schema, at.Child(schemaName), status)...)
	})
	each(func(v *version) any { return v.Subresources }, func(v *version, at *field.Path) {
		errs = append(errs, validateSubresources(v.Subresources, at.Child("subresources"))...)
	})
	each(func(v *version) any { return v.AdditionalPrinterColumns }, func(v *version, at *field.Path) {
		for i := range v.AdditionalPrinterColumns {
			errs = append(errs, validateColumn(&v.AdditionalPrinterColumns[i], at.Child("additionalPrinterColumns").Index(i))...)
		}
	})
	each(func(v *version) any { return v.SelectableFields }, func(v *version, at *field.Path) {
		errs = append(errs, validateSelectableFields(v, at.Child("selectableFields"))...)
	})
	return errs
}

// sameSchema reports whether old has the version with the same schema.
func sameSchema(v *apiextensionsv1.CustomResourceDefinitionVersion, old *apiextensionsv1.CustomResourceDefinition) bool {
	if old == nil {
		return false
	}
	for i := range old.Spec.Versions {
		if o := &old.Spec.Versions[i]; o.Name == v.Name {
			return equality.Semantic.DeepEqual(o.Schema, v.Schema)
		}
	}
	return false
}

func oneOf[T ~string](path *field.Path, value T, accepted ...T) field.ErrorList {
	if value == "" {
		return field.ErrorList{field.Required(path, "")}
	}
	if !slices.Contains(accepted, value) {
		return field.ErrorList{field.NotSupported(path, value, accepted)}
	}
	return nil
}

func deprecationWarning(deprecated bool, text *string) (msgs []string) {
	if text == nil {
		return nil
	}
	if !deprecated {
		return []string{"can only be set for deprecated versions"}
	}
	if len(*text) > 256 {
		msgs = append(msgs, "must be <= 256 characters long")
	}
	if *text == "" {
		msgs = append(msgs, "must not be an empty string")
	}
	for i, r := range *text {
		if !unicode.IsPrint(r) {
			msgs = append(msgs, fmt.Sprintf("must only contain printable UTF-8 characters; non-printable character found at index %d", i))
			break
		}
	}
	if !utf8.ValidString(*text) {
		msgs = append(msgs, "must only contain printable UTF-8 characters")
	}
	return msgs
}

func validateNames(names *apiextensionsv1.CustomResourceDefinitionNames, path *field.Path) (errs field.ErrorList) {
	label := func(name string, value string, mixed bool) {
		checked, prefix := value, ""
		if mixed {
			checked, prefix = strings.ToLower(value), "may have mixed case, but should otherwise match: "
		}
		if msgs := utilvalidation.IsDNS1035Label(checked); value != "" && len(msgs) > 0 {
			errs = append(errs, field.Invalid(path.Child(name), value, prefix+strings.Join(msgs, ",")))
		}
	}
	label("plural", names.Plural, false)
	label("singular", names.Singular, false)
	label("kind", names.Kind, true)
	label("listKind", names.ListKind, true)
	list := func(name string, values []string) {
		for i, v := range values {
			if msgs := utilvalidation.IsDNS1035Label(v); len(msgs) > 0 {
				errs = append(errs, field.Invalid(path.Child(name).Index(i), v, strings.Join(msgs, ",")))
			}
		}
	}
	list("shortNames", names.ShortNames)
	if names.Kind != "" && names.Kind == names.ListKind {
		errs = append(errs, field.Invalid(path.Child("listKind"), names.ListKind, "kind and listKind may not be the same"))
	}
	list("categories", names.Categories)
	return errs
}

func validateStoredVersions(c *apiextensionsv1.CustomResourceDefinition) (errs field.ErrorList) {
	path := field.NewPath("status", "storedVersions")
	stored := c.Status.StoredVersions
	if len(stored) == 0 {
		return field.ErrorList{field.Invalid(path, stored, "must have at least one stored version")}
	}
	known := map[string]bool{}
	for _, v := range c.Spec.Versions {
		known[v.Name] = true
		if v.Storage && !slices.Contains(stored, v.Name) {
			errs = append(errs, field.Invalid(path, stored, "must have the storage version "+v.Name))
		}
	}
	for i, v := range stored {
		if !known[v] {
			errs = append(errs, field.Invalid(path.Index(i), v, fmt.Sprintf("missing from spec.versions; %[1]s was previously a storage version, and must remain in spec.versions until a storage migration ensures no data remains persisted in %[1]s and removes %[1]s from status.storedVersions", v)))
		}
	}
	return errs
}

func validateApproval(c, old *apiextensionsv1.CustomResourceDefinition) field.ErrorList {
	if !apihelpers.IsProtectedCommunityGroup(c.Spec.Group) {
		return nil
	}
	state, message := apihelpers.GetAPIApprovalState(c.Annotations)
	if old != nil {
		if was, _ := apihelpers.GetAPIApprovalState(old.Annotations); was == state {
			return nil
		}
	}
	path := field.NewPath("metadata", "annotations").Key(apiextensionsv1.KubeAPIApprovedAnnotation)
	switch state {
	case apihelpers.APIApproved, apihelpers.APIApprovalBypassed:
		return nil
	case apihelpers.APIApprovalMissing:
		return field.ErrorList{field.Required(path, message)}
	}
	return field.ErrorList{field.Invalid(path, c.Annotations[apiextensionsv1.KubeAPIApprovedAnnotation], message)}
}

func validateSelectableFields(v *apiextensionsv1.CustomResourceDefinitionVersion, path *field.Path) (errs field.ErrorList) {
	if len(v.SelectableFields) == 0 || v.Schema == nil || v.Schema.OpenAPIV3Schema == nil {
		return nil
	}
	st, _, err := structuralOf(v.Schema.OpenAPIV3Schema, nil)
	if err != nil || st == nil {
		return nil // told by the check of the schema
	}
	seen := map[string]bool{}
	for i, f := range v.SelectableFields {
		at := path.Index(i).Child("jsonPath")
		if f.JSONPath == "" {
			errs = append(errs, field.Required(at, ""))
			continue
		}
		found, schema, err := cel.ValidFieldPath(f.JSONPath, st, cel.WithFieldPathAllowArrayNotation(false))
		if err != nil {
			errs = append(errs, field.Invalid(at, f.JSONPath, fmt.Sprintf("is an invalid path: %v", err)))
			continue
		}
		if found.Root().String() == "metadata" {
			errs = append(errs, field.Invalid(at, f.JSONPath, "must not point to fields in metadata"))
		}
		if schema == nil || !slices.Contains([]string{"string", "boolean", "integer"}, schema.Type) {
			errs = append(errs, field.Invalid(at, f.JSONPath, "must point to a field of type string, boolean or integer. Enum string fields and strings with formats are allowed."))
		}
		if seen[found.String()] {
			errs = append(errs, field.Duplicate(at, f.JSONPath))
		}
		seen[found.String()] = true
	}
	if len(seen) > maxSelectableFields {
		errs = append(errs, field.TooMany(path, len(seen), maxSelectableFields))
	}
	return errs
}
