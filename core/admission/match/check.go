package match

import (
	"fmt"
	"slices"
	"strings"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// CheckRule validates a rule of a webhook or a policy, with upstream's paths and messages.
func CheckRule(r *admissionregistrationv1.RuleWithOperations, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	at := path.Child("operations")
	switch {
	case len(r.Operations) == 0:
		errs = append(errs, field.Required(at, ""))
	case len(r.Operations) > 1 && slices.Contains(r.Operations, admissionregistrationv1.OperationAll):
		errs = append(errs, field.Invalid(at, r.Operations, "if '*' is present, must not specify other operations"))
	}
	for i, o := range r.Operations {
		errs = append(errs, CheckOneOf(at.Index(i), o, admissionregistrationv1.OperationAll, admissionregistrationv1.Connect,
			admissionregistrationv1.Create, admissionregistrationv1.Delete, admissionregistrationv1.Update)...)
	}
	errs = append(errs, checkWildcard(path.Child("apiGroups"), r.APIGroups, "if '*' is present, must not specify other API groups")...)
	errs = append(errs, checkWildcard(path.Child("apiVersions"), r.APIVersions, "if '*' is present, must not specify other API versions")...)
	for i, version := range r.APIVersions {
		if version == "" {
			errs = append(errs, field.Required(path.Child("apiVersions").Index(i), ""))
		}
	}
	errs = append(errs, checkResources(path.Child("resources"), r.Resources)...)
	if r.Scope != nil {
		errs = append(errs, CheckOneOf(path.Child("scope"), *r.Scope, admissionregistrationv1.AllScopes,
			admissionregistrationv1.ClusterScope, admissionregistrationv1.NamespacedScope)...)
	}
	return errs
}

// CheckOneOf reports a value that is none of those supported, which are given in the order
// of their names.
func CheckOneOf[T ~string](path *field.Path, value T, supported ...T) field.ErrorList {
	if slices.Contains(supported, value) {
		return nil
	}
	return field.ErrorList{field.NotSupported(path, value, supported)}
}

// checkWildcard checks a list that is not empty, in which "*" stands alone.
func checkWildcard(path *field.Path, list []string, message string) field.ErrorList {
	switch {
	case len(list) == 0:
		return field.ErrorList{field.Required(path, "")}
	case len(list) > 1 && slices.Contains(list, "*"):
		return field.ErrorList{field.Invalid(path, list, message)}
	}
	return nil
}

// checkResources checks resources and subresources: what a wildcard before it covers must not
// be named again.
func checkResources(path *field.Path, list []string) field.ErrorList {
	if len(list) == 0 {
		return field.ErrorList{field.Required(path, "")}
	}
	var errs field.ErrorList
	allOf, anyWith := map[string]bool{}, map[string]bool{} // resources with all subresources, subresources of all resources
	plain := false
	for i, text := range list {
		if text == "" {
			errs = append(errs, field.Required(path.Index(i), ""))
			continue
		}
		res, sub, ok := strings.Cut(text, "/")
		if !ok {
			plain = text != "*"
			continue
		}
		if allOf[res] {
			errs = append(errs, field.Invalid(path.Index(i), text, fmt.Sprintf("if '%s/*' is present, must not specify %s", res, text)))
		}
		if anyWith[sub] {
			errs = append(errs, field.Invalid(path.Index(i), text, fmt.Sprintf("if '*/%s' is present, must not specify %s", sub, text)))
		}
		allOf[res] = allOf[res] || sub == "*"
		anyWith[sub] = anyWith[sub] || res == "*"
	}
	if len(list) > 1 && slices.Contains(list, "*/*") {
		errs = append(errs, field.Invalid(path, list, "if '*/*' is present, must not specify other resources"))
	}
	if plain && slices.Contains(list, "*") {
		errs = append(errs, field.Invalid(path, list, "if '*' is present, must not specify other resources without subresources"))
	}
	return errs
}

// maxConditions is how many match conditions a webhook or a policy may have.
const maxConditions = 64

// CheckConditions validates the match conditions of a webhook or a policy. compile reports
// what is wrong with the expression of one, which has no space around it and is not empty.
func CheckConditions(list []admissionregistrationv1.MatchCondition, path *field.Path, compile func(text string, at *field.Path) field.ErrorList) field.ErrorList {
	var errs field.ErrorList
	if len(list) > maxConditions {
		errs = append(errs, field.TooMany(path, len(list), maxConditions))
	}
	names := map[string]bool{}
	for i, m := range list {
		at := path.Index(i)
		if text := strings.TrimSpace(m.Expression); text == "" {
			errs = append(errs, field.Required(at.Child("expression"), ""))
		} else {
			errs = append(errs, compile(text, at.Child("expression"))...)
		}
		if m.Name == "" {
			errs = append(errs, field.Required(at.Child("name"), ""))
			continue
		}
		errs = append(errs, CheckQualifiedName(m.Name, at.Child("name"))...)
		if names[m.Name] {
			errs = append(errs, field.Duplicate(at.Child("name"), m.Name))
		}
		names[m.Name] = true
	}
	return errs
}

// CheckQualifiedName validates a name that may have a domain before a slash.
func CheckQualifiedName(name string, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for _, message := range utilvalidation.IsQualifiedName(name) {
		errs = append(errs, field.Invalid(path, name, message))
	}
	return errs
}
