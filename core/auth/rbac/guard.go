package rbac

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/component-helpers/auth/rbac/validation"

	"github.com/pintle-dev/pintle/core/auth"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// Guard returns the admission of roles and bindings: a write is refused (403 Forbidden)
// where the user would grant permissions that they lack. Those who may "escalate" a role
// or "bind" it are let through, as are members of system:masters; authorizer decides about
// these two verbs. It is called for writes of the four RBAC kinds after their defaults are
// set, and has nothing to say about others.
func Guard(a *Authorizer, authorizer auth.Authorizer) resource.Preparer {
	return &guard{a, authorizer}
}

type guard struct {
	index      *Authorizer
	authorizer auth.Authorizer
}

// Prepare implements resource.Preparer.
func (g *guard) Prepare(ctx context.Context, r *resource.Request) error {
	if r.Resource.Group != rbacv1.GroupName || r.Object == nil || r.Subresource != "" || slices.Contains(r.User.Groups, auth.MastersGroup) {
		return nil
	}
	if r.Old != nil && reflect.DeepEqual(content(r.Old), content(r.Object)) {
		return nil // metadata only: nothing is granted
	}
	switch r.Resource.Resource {
	case "roles", "clusterroles":
		return g.role(ctx, r)
	case "rolebindings", "clusterrolebindings":
		return g.binding(ctx, r)
	}
	return nil
}

// content is a role or binding without its metadata.
func content(tree map[string]any) map[string]any {
	out := make(map[string]any, len(tree))
	for k, v := range tree {
		if k != "metadata" {
			out[k] = v
		}
	}
	return out
}

func (g *guard) role(ctx context.Context, r *resource.Request) error {
	name := r.Name
	if r.Operation == resource.Create {
		name = "" // as in the URL
	}
	if ok, err := g.may(ctx, r, "escalate", r.Resource.Resource, name); ok || err != nil {
		return err
	}
	var role, old rbacv1.ClusterRole
	if err := convert(r.Object, &role); err != nil {
		return err
	}
	if r.Old != nil {
		if err := convert(r.Old, &old); err != nil {
			return err
		}
	}
	if err := g.covers(r, role.Rules); err != nil {
		return err
	}
	aggregated := func(r *rbacv1.ClusterRole) bool {
		return r.AggregationRule != nil && len(r.AggregationRule.ClusterRoleSelectors) > 0
	}
	if aggregated(&role) || aggregated(&old) {
		if g.covers(r, everything) != nil {
			return forbidden(r, errors.New("must have cluster-admin privileges to use the aggregationRule"))
		}
	}
	return nil
}

func (g *guard) binding(ctx context.Context, r *resource.Request) error {
	var b rbacv1.RoleBinding
	if err := convert(r.Object, &b); err != nil {
		return err
	}
	ref := scopedName{"", b.RoleRef.Name}
	bucket := "clusterroles"
	switch {
	case b.RoleRef.Kind == "Role" && r.Namespace != "":
		ref.namespace, bucket = r.Namespace, "roles"
	case b.RoleRef.Kind != "ClusterRole":
		return nil // not valid; validation says so
	}
	if ok, err := g.may(ctx, r, "bind", bucket, b.RoleRef.Name); ok || err != nil {
		return err
	}
	rules, ok := g.index.index.rulesOf(ref)
	if !ok {
		return apierrors.NewNotFound(schema.GroupResource{Group: rbacv1.GroupName, Resource: bucket}, b.RoleRef.Name)
	}
	return g.covers(r, rules)
}

// may asks for the verbs that allow to grant what one does not have.
func (g *guard) may(ctx context.Context, r *resource.Request, verb, bucket, name string) (bool, error) {
	ok, _, err := g.authorizer.Authorize(ctx, auth.Attributes{
		User: r.User, Verb: verb, Group: rbacv1.GroupName, Version: "*", Resource: bucket, Namespace: r.Namespace, Name: name,
	})
	if err != nil {
		return false, apierrors.NewInternalError(fmt.Errorf("decide whether %q may %s %s %q: %w", r.User.Name, verb, bucket, name, err))
	}
	return ok, nil
}

// covers returns an error that lists what the user lacks of rules.
func (g *guard) covers(r *resource.Request, rules []rbacv1.PolicyRule) error {
	ok, lacking := validation.Covers(g.index.Rules(r.User, r.Namespace), rules)
	if ok {
		return nil
	}
	return forbidden(r, fmt.Errorf("user %q (groups=%q) is attempting to grant RBAC permissions not currently held:\n%s",
		r.User.Name, r.User.Groups, describe(lacking)))
}

func forbidden(r *resource.Request, err error) error {
	return apierrors.NewForbidden(r.Resource.GroupResource(), r.Name, err)
}

func convert(tree map[string]any, into any) error {
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(tree, into); err != nil {
		return apierrors.NewBadRequest(err.Error())
	}
	return nil
}

// describe writes rules of one verb and resource each, as Covers returns them, in lines,
// verbs of the same thing joined.
func describe(rules []rbacv1.PolicyRule) string {
	var joined []rbacv1.PolicyRule
	for _, r := range rules {
		at := slices.IndexFunc(joined, func(j rbacv1.PolicyRule) bool {
			return slices.Equal(j.APIGroups, r.APIGroups) && slices.Equal(j.Resources, r.Resources) &&
				slices.Equal(j.ResourceNames, r.ResourceNames) && slices.Equal(j.NonResourceURLs, r.NonResourceURLs)
		})
		if at < 0 {
			r.Verbs = slices.Clone(r.Verbs)
			joined = append(joined, r)
			continue
		}
		for _, v := range r.Verbs {
			if !slices.Contains(joined[at].Verbs, v) {
				joined[at].Verbs = append(joined[at].Verbs, v)
			}
		}
	}
	lines := make([]string, 0, len(joined))
	for _, r := range joined {
		var parts []string
		for _, p := range []struct {
			name   string
			values []string
		}{
			{"APIGroups", r.APIGroups}, {"Resources", r.Resources}, {"ResourceNames", r.ResourceNames},
			{"NonResourceURLs", r.NonResourceURLs}, {"Verbs", r.Verbs},
		} {
			if len(p.values) > 0 {
				parts = append(parts, fmt.Sprintf("%s:%q", p.name, p.values))
			}
		}
		lines = append(lines, "{"+strings.Join(parts, ", ")+"}")
	}
	slices.SortFunc(lines, cmp.Compare[string])
	return strings.Join(lines, "\n")
}
