package policy

import (
	"context"
	"fmt"
	"slices"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/authentication/user"

	"github.com/pintle-dev/pintle/core/auth"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// mayReadKind refuses a policy whose author may not read all objects that may become its
// parameters: its messages could tell what is in them.
func (p *Policies) mayReadKind(ctx context.Context, u resource.User, kind *admissionregistrationv1.ParamKind, path *field.Path) field.ErrorList {
	if kind == nil || slices.Contains(u.Groups, auth.MastersGroup) {
		return nil
	}
	at := auth.Attributes{User: u, Verb: "get", Name: "*", Namespace: "*"}
	at.Group, at.Version, at.Resource, _ = p.paramResource(kind)
	allowed, _, err := p.authorizer.Authorize(ctx, at)
	switch {
	case err != nil:
		return field.ErrorList{field.Forbidden(path, err.Error())}
	case !allowed:
		return field.ErrorList{field.Forbidden(path, fmt.Sprintf(
			`user %v must have "get" permission on all objects of the referenced paramKind (kind=%s, apiVersion=%s)`, printed(u), kind.Kind, kind.APIVersion))}
	}
	return nil
}

// mayReadParams refuses a binding whose author may not read the parameters that it names.
func (p *Policies) mayReadParams(ctx context.Context, r *resource.Request, policies, policyName string, ref *admissionregistrationv1.ParamRef, path *field.Path) field.ErrorList {
	if ref == nil || slices.Contains(r.User.Groups, auth.MastersGroup) {
		return nil
	}
	at := auth.Attributes{User: r.User, Verb: "get", Name: ref.Name, Namespace: ref.Namespace, Group: "*", Version: "*", Resource: "*"}
	if ref.Name == "" {
		at.Verb = "list"
	}
	// unknown says what is not known of the parameters' type, so that permission for all
	// types is needed.
	unknown := ""
	kind, err := p.kindOf(ctx, r, policies, policyName)
	switch {
	case err != nil:
		unknown = "unable to get policy " + policyName
	case kind != nil:
		if at.Group, at.Version, at.Resource, err = p.paramResource(kind); err != nil {
			unknown = fmt.Sprintf("unable to resolve paramKind %v", kind)
		}
	}
	allowed, _, err := p.authorizer.Authorize(ctx, at)
	switch {
	case err != nil:
		return field.ErrorList{field.Forbidden(path, fmt.Sprintf("failed to authorize request: %v", err))}
	case allowed:
		return nil
	case unknown != "":
		return field.ErrorList{field.Forbidden(path, fmt.Sprintf(
			`%s to determine minimum required permissions and user %v does not have "%v" permission for all groups, versions and resources`, unknown, printed(r.User), at.Verb))}
	}
	return field.ErrorList{field.Forbidden(path, fmt.Sprintf(`user %v does not have "%v" permission on the object referenced by paramRef`, printed(r.User), at.Verb))}
}

// kindOf reads the parameters' kind of a stored policy.
func (p *Policies) kindOf(ctx context.Context, r *resource.Request, policies, policyName string) (*admissionregistrationv1.ParamKind, error) {
	tree, err := r.Reader.Get(ctx, schema.GroupResource{Group: admissionregistrationv1.GroupName, Resource: policies}, "", policyName)
	if err != nil {
		return nil, fmt.Errorf("read policy %q: %w", policyName, err)
	}
	if tree == nil {
		return nil, fmt.Errorf("policy %q not found", policyName)
	}
	spec, _ := tree["spec"].(map[string]any)
	kind, ok := spec["paramKind"].(map[string]any)
	if !ok {
		return nil, nil
	}
	out := &admissionregistrationv1.ParamKind{}
	out.APIVersion, _ = kind["apiVersion"].(string)
	out.Kind, _ = kind["kind"].(string)
	return out, nil
}

// paramResource is the resource of a kind; "*" stands for what is not known.
func (p *Policies) paramResource(kind *admissionregistrationv1.ParamKind) (group, version, resource string, err error) {
	gv, err := schema.ParseGroupVersion(kind.APIVersion)
	if err != nil {
		return "*", "*", "*", fmt.Errorf("apiVersion %q: %w", kind.APIVersion, err)
	}
	t, err := p.paramType(kind)
	if err != nil {
		return gv.Group, gv.Version, "*", err
	}
	return gv.Group, gv.Version, t.GVR.Resource, nil
}

// printed prints a user as upstream does.
func printed(u resource.User) user.Info {
	return &user.DefaultInfo{Name: u.Name, UID: u.UID, Groups: u.Groups, Extra: u.Extra}
}
