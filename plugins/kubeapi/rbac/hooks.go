package rbac

import (
	"context"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/check"
	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/show"
	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/tree"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// The kinds of subjects.
const (
	serviceAccount = "ServiceAccount"
	user           = "User"
	userGroup      = "Group"
)

func defaultSubjects(r *resource.Request) {
	if ref := tree.Map(r.Object, "roleRef"); ref != nil && tree.Str(ref, "apiGroup") == "" {
		ref["apiGroup"] = group
	}
	for _, v := range tree.List(r.Object, "subjects") {
		s := tree.Object(v)
		if kind := tree.Str(s, "kind"); tree.Str(s, "apiGroup") == "" && (kind == user || kind == userGroup) {
			s["apiGroup"] = group
		}
	}
}

func validateRole(_ context.Context, r *resource.Request) field.ErrorList {
	return rules(r.Object, true)
}

func validateClusterRole(_ context.Context, r *resource.Request) field.ErrorList {
	errs := rules(r.Object, false)
	if a := tree.Map(r.Object, "aggregationRule"); a != nil {
		path := field.NewPath("aggregationRule", "clusterRoleSelectors")
		selectors := tree.List(a, "clusterRoleSelectors")
		if len(selectors) == 0 {
			errs = append(errs, field.Required(path, "at least one clusterRoleSelector required if aggregationRule is non-nil"))
		}
		for i, s := range selectors {
			errs = append(errs, check.Selector(tree.Object(s), path.Index(i))...)
		}
	}
	return errs
}

func rules(o map[string]any, namespaced bool) field.ErrorList {
	errs := check.Name(o, check.PathSegment)
	for i, v := range tree.List(o, "rules") {
		errs = append(errs, rule(tree.Object(v), field.NewPath("rules").Index(i), namespaced)...)
	}
	return errs
}

func rule(r map[string]any, path *field.Path, namespaced bool) field.ErrorList {
	var errs field.ErrorList
	if len(tree.List(r, "verbs")) == 0 {
		errs = append(errs, field.Required(path.Child("verbs"), "verbs must contain at least one value"))
	}
	groups, resources := tree.List(r, "apiGroups"), tree.List(r, "resources")
	if urls := tree.Strings(r, "nonResourceURLs"); len(urls) > 0 {
		at := path.Child("nonResourceURLs")
		if namespaced {
			errs = append(errs, field.Invalid(at, urls, "namespaced rules cannot apply to non-resource URLs"))
		}
		if len(groups) > 0 || len(resources) > 0 || len(tree.List(r, "resourceNames")) > 0 {
			errs = append(errs, field.Invalid(at, urls, "rules cannot apply to both regular resources and non-resource URLs"))
		}
		return errs
	}
	if len(groups) == 0 {
		errs = append(errs, field.Required(path.Child("apiGroups"), "resource rules must supply at least one api group"))
	}
	if len(resources) == 0 {
		errs = append(errs, field.Required(path.Child("resources"), "resource rules must supply at least one resource"))
	}
	return errs
}

func validateRoleBinding(_ context.Context, r *resource.Request) field.ErrorList {
	return binding(r, true, "Role", "ClusterRole")
}

func validateClusterRoleBinding(_ context.Context, r *resource.Request) field.ErrorList {
	return binding(r, false, "ClusterRole")
}

func binding(r *resource.Request, namespaced bool, kinds ...string) field.ErrorList {
	errs := check.Name(r.Object, check.PathSegment)
	ref, path := tree.Map(r.Object, "roleRef"), field.NewPath("roleRef")
	if g := tree.Str(ref, "apiGroup"); g != group {
		errs = append(errs, field.NotSupported(path.Child("apiGroup"), g, []string{group}))
	}
	known := false
	for _, k := range kinds {
		known = known || tree.Str(ref, "kind") == k
	}
	if !known {
		errs = append(errs, field.NotSupported(path.Child("kind"), tree.Str(ref, "kind"), kinds))
	}
	if name := tree.Str(ref, "name"); name == "" {
		errs = append(errs, field.Required(path.Child("name"), ""))
	} else {
		errs = append(errs, check.Invalid(path.Child("name"), name, check.PathSegment(name))...)
	}
	for i, v := range tree.List(r.Object, "subjects") {
		errs = append(errs, subject(tree.Object(v), field.NewPath("subjects").Index(i), namespaced)...)
	}
	if r.Operation == resource.Update && !tree.Equal(ref, tree.Map(r.Old, "roleRef")) {
		errs = append(errs, field.Invalid(path, ref, "cannot change roleRef"))
	}
	return errs
}

func subject(s map[string]any, path *field.Path, namespaced bool) field.ErrorList {
	var errs field.ErrorList
	name, apiGroup := tree.Str(s, "name"), tree.Str(s, "apiGroup")
	if name == "" {
		errs = append(errs, field.Required(path.Child("name"), ""))
	}
	switch kind := tree.Str(s, "kind"); kind {
	case serviceAccount:
		if name != "" {
			errs = append(errs, check.Invalid(path.Child("name"), name, check.DNSSubdomain(name))...)
		}
		if apiGroup != "" {
			errs = append(errs, field.NotSupported(path.Child("apiGroup"), apiGroup, []string{""}))
		}
		if !namespaced && tree.Str(s, "namespace") == "" {
			errs = append(errs, field.Required(path.Child("namespace"), ""))
		}
	case user, userGroup:
		if apiGroup != group {
			errs = append(errs, field.NotSupported(path.Child("apiGroup"), apiGroup, []string{group}))
		}
	default:
		errs = append(errs, field.NotSupported(path.Child("kind"), kind, []string{serviceAccount, user, userGroup}))
	}
	return errs
}

func printRole(o map[string]any) []any {
	return []any{tree.Str(tree.Map(o, "metadata"), "creationTimestamp")}
}

func printBinding(o map[string]any) []any {
	ref := tree.Map(o, "roleRef")
	var users, groups, accounts []string
	for _, v := range tree.List(o, "subjects") {
		s := tree.Object(v)
		name := tree.Str(s, "name")
		switch tree.Str(s, "kind") {
		case serviceAccount:
			accounts = append(accounts, tree.Str(s, "namespace")+"/"+name)
		case user:
			users = append(users, name)
		case userGroup:
			groups = append(groups, name)
		}
	}
	return []any{
		tree.Str(ref, "kind") + "/" + tree.Str(ref, "name"), show.Age(o),
		strings.Join(users, ", "), strings.Join(groups, ", "), strings.Join(accounts, ", "),
	}
}
