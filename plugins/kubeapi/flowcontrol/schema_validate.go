package flowcontrol

import (
	"fmt"
	"slices"
	"strings"

	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/check"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// maxPrecedence is the largest matchingPrecedence.
const maxPrecedence = 10000

var verbs = []string{"create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch"}

func validateSchema(r *resource.Request, s, _ *flowcontrolv1.FlowSchema) field.ErrorList {
	if r.Subresource == "status" {
		return schemaStatus(&s.Status, field.NewPath("status"))
	}
	errs := check.Name(r.Object, check.DNSSubdomain)
	path := field.NewPath("spec")
	errs = append(errs, schemaSpec(s.Name, &s.Spec, path)...)
	if fixed := mandatorySchema(s.Name); fixed != nil && !equality.Semantic.DeepEqual(s.Spec, *fixed) {
		errs = append(errs, field.Invalid(path, &s.Spec, fmt.Sprintf("spec of '%s' must equal the fixed value", s.Name)))
	}
	return append(errs, schemaStatus(&s.Status, field.NewPath("status"))...)
}

func schemaStatus(s *flowcontrolv1.FlowSchemaStatus, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i, c := range s.Conditions {
		if c.Type == "" {
			errs = append(errs, field.Required(path.Child("conditions").Index(i).Child("type"), ""))
		}
	}
	return errs
}

func schemaSpec(name string, s *flowcontrolv1.FlowSchemaSpec, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	at := path.Child("matchingPrecedence")
	switch n := s.MatchingPrecedence; {
	case n <= 0:
		errs = append(errs, field.Invalid(at, n, "must be a positive value"))
	case n > maxPrecedence:
		errs = append(errs, field.Invalid(at, n, fmt.Sprintf("must not be greater than %d", maxPrecedence)))
	case n == 1 && name != exempt:
		errs = append(errs, field.Invalid(at, n, "only the schema named 'exempt' may have matchingPrecedence 1"))
	}
	if m := s.DistinguisherMethod; m != nil && m.Type != flowcontrolv1.FlowDistinguisherMethodByNamespaceType && m.Type != flowcontrolv1.FlowDistinguisherMethodByUserType {
		errs = append(errs, field.NotSupported(path.Child("distinguisherMethod", "type"), m, []string{"ByNamespace", "ByUser"}))
	}
	at = path.Child("priorityLevelConfiguration", "name")
	if level := s.PriorityLevelConfiguration.Name; level == "" {
		errs = append(errs, field.Required(at, "must reference a priority level"))
	} else {
		errs = append(errs, check.Invalid(at, level, check.DNSSubdomain(level))...)
	}
	for i := range s.Rules {
		errs = append(errs, schemaRule(&s.Rules[i], path.Child("rules").Index(i))...)
	}
	return errs
}

func schemaRule(r *flowcontrolv1.PolicyRulesWithSubjects, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if len(r.Subjects) == 0 {
		errs = append(errs, field.Required(path.Child("subjects"), "subjects must contain at least one value"))
	}
	for i := range r.Subjects {
		errs = append(errs, subject(&r.Subjects[i], path.Child("subjects").Index(i))...)
	}
	if len(r.ResourceRules) == 0 && len(r.NonResourceRules) == 0 {
		errs = append(errs, field.Required(path, "at least one of resourceRules and nonResourceRules has to be non-empty"))
	}
	for i := range r.ResourceRules {
		errs = append(errs, resourceRule(&r.ResourceRules[i], path.Child("resourceRules").Index(i))...)
	}
	for i := range r.NonResourceRules {
		errs = append(errs, pathRule(&r.NonResourceRules[i], path.Child("nonResourceRules").Index(i))...)
	}
	return errs
}

func subject(s *flowcontrolv1.Subject, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	found := false
	for _, of := range [...]struct {
		kind    flowcontrolv1.SubjectKind
		member  string
		there   bool
		content func(*field.Path) field.ErrorList
	}{
		{flowcontrolv1.SubjectKindUser, "user", s.User != nil, func(at *field.Path) field.ErrorList { return nameRequired(s.User.Name, at) }},
		{flowcontrolv1.SubjectKindGroup, "group", s.Group != nil, func(at *field.Path) field.ErrorList { return nameRequired(s.Group.Name, at) }},
		{flowcontrolv1.SubjectKindServiceAccount, "serviceAccount", s.ServiceAccount != nil, func(at *field.Path) field.ErrorList { return account(s.ServiceAccount, at) }},
	} {
		at := path.Child(of.member)
		switch {
		case s.Kind == of.kind && !of.there:
			errs = append(errs, field.Required(at, fmt.Sprintf("%s is required when subject kind is '%s'", of.member, of.kind)))
		case s.Kind == of.kind:
			errs = append(errs, of.content(at)...)
		case of.there:
			errs = append(errs, field.Forbidden(at, fmt.Sprintf("%s is forbidden when subject kind is not '%s'", of.member, of.kind)))
		}
		found = found || s.Kind == of.kind
	}
	if !found {
		return field.ErrorList{field.NotSupported(path.Child("kind"), s.Kind, []string{"Group", "ServiceAccount", "User"})}
	}
	return errs
}

func nameRequired(name string, path *field.Path) field.ErrorList {
	if name == "" {
		return field.ErrorList{field.Required(path.Child("name"), "")}
	}
	return nil
}

func account(a *flowcontrolv1.ServiceAccountSubject, path *field.Path) field.ErrorList {
	errs := nameRequired(a.Name, path)
	if a.Name != "" && a.Name != "*" {
		errs = append(errs, check.Invalid(path.Child("name"), a.Name, check.DNSSubdomain(a.Name))...)
	}
	if a.Namespace == "" {
		return append(errs, field.Required(path.Child("namespace"), "must specify namespace for service account"))
	}
	return append(errs, check.Invalid(path.Child("namespace"), a.Namespace, check.DNSLabel(a.Namespace))...)
}

// list checks a list that names things, or all of them by "*" alone.
func list(values []string, path *field.Path, missing, things string) (errs field.ErrorList, all bool) {
	switch {
	case len(values) == 0:
		return field.ErrorList{field.Required(path, missing)}, true
	case !slices.Contains(values, "*"):
		return nil, false
	case len(values) > 1:
		return field.ErrorList{field.Invalid(path, values, "if '*' is present, must not specify other "+things)}, true
	}
	return nil, true
}

func ruleVerbs(values []string, path *field.Path) field.ErrorList {
	errs, all := list(values, path, "verbs must contain at least one value", "verbs")
	if !all && slices.ContainsFunc(values, func(v string) bool { return !slices.Contains(verbs, v) }) {
		errs = append(errs, field.NotSupported(path, values, verbs))
	}
	return errs
}

func resourceRule(r *flowcontrolv1.ResourcePolicyRule, path *field.Path) field.ErrorList {
	errs := ruleVerbs(r.Verbs, path.Child("verbs"))
	groups, _ := list(r.APIGroups, path.Child("apiGroups"), "resource rules must supply at least one api group", "api groups")
	resources, _ := list(r.Resources, path.Child("resources"), "resource rules must supply at least one resource", "resources")
	errs = append(append(errs, groups...), resources...)
	if len(r.Namespaces) == 0 && r.ClusterScope {
		return errs
	}
	at := path.Child("namespaces")
	wrong, all := list(r.Namespaces, at, "resource rules that are not cluster scoped must supply at least one namespace", "namespaces")
	errs = append(errs, wrong...)
	if all {
		return errs
	}
	for i, n := range r.Namespaces {
		for _, m := range check.DNSLabel(n) {
			errs = append(errs, field.Invalid(at.Index(i), n, "each member of this list must be '*' or a DNS-1123 label; "+m))
		}
	}
	return errs
}

func pathRule(r *flowcontrolv1.NonResourcePolicyRule, path *field.Path) field.ErrorList {
	errs := ruleVerbs(r.Verbs, path.Child("verbs"))
	at := path.Child("nonResourceURLs")
	wrong, all := list(r.NonResourceURLs, at, "nonResourceURLs must contain at least one value", "non-resource URLs")
	errs = append(errs, wrong...)
	if all {
		return errs
	}
	for i, u := range r.NonResourceURLs {
		if m := urlPath(u); m != "" {
			errs = append(errs, field.Invalid(at.Index(i), u, m))
		}
	}
	return errs
}

// urlPath says what is wrong with a path that may end in a star.
func urlPath(p string) string {
	stars := strings.Count(p, "*")
	switch {
	case p == "":
		return "must not be empty"
	case p == "/":
		return ""
	case p[0] != '/':
		return "must start with slash"
	case strings.Contains(p, " "):
		return "must not contain white-space"
	case strings.Contains(p, "//"):
		return "must not contain double slash"
	case stars > 1 || stars == 1 && !strings.HasSuffix(p, "/*"):
		return "wildcard can only do suffix matching"
	}
	return ""
}
