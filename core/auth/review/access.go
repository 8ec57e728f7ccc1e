package review

import (
	"context"
	"reflect"
	"strings"

	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	runtimeschema "k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/pintle-dev/pintle/core/auth"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// subjectAccess answers whether some user may do something.
type subjectAccess struct{ *Config }

func (h subjectAccess) CreateVirtual(ctx context.Context, r *resource.Request) (map[string]any, error) {
	var review authorizationv1.SubjectAccessReview
	if err := decode(r, &review); err != nil {
		return nil, err
	}
	errs := append(validateSubject(&review.Spec, field.NewPath("spec")), validateMeta(review.ObjectMeta, metav1.ObjectMeta{}, "must be empty")...)
	if len(errs) > 0 {
		return nil, invalid(errs)
	}
	return h.decide(ctx, r, userOf(&review.Spec), review.Spec.ResourceAttributes, review.Spec.NonResourceAttributes)
}

// localSubjectAccess is the same within one namespace, so that it can be granted there.
type localSubjectAccess struct{ *Config }

func (h localSubjectAccess) CreateVirtual(ctx context.Context, r *resource.Request) (map[string]any, error) {
	var review authorizationv1.LocalSubjectAccessReview
	if err := decode(r, &review); err != nil {
		return nil, err
	}
	spec := field.NewPath("spec")
	errs := validateSubject(&review.Spec, spec)
	allowed := metav1.ObjectMeta{Namespace: review.Namespace}
	errs = append(errs, validateMeta(review.ObjectMeta, allowed, "must be empty except for namespace")...)
	if a := review.Spec.ResourceAttributes; a != nil && a.Namespace != r.Namespace {
		errs = append(errs, field.Invalid(spec.Child("resourceAttributes", "namespace"), a.Namespace, "must match metadata.namespace"))
	}
	if review.Spec.NonResourceAttributes != nil {
		errs = append(errs, field.Invalid(spec.Child("nonResourceAttributes"), review.Spec.NonResourceAttributes, "disallowed on this kind of request"))
	}
	if len(errs) > 0 {
		return nil, invalid(errs)
	}
	out, err := h.decide(ctx, r, userOf(&review.Spec), review.Spec.ResourceAttributes, nil)
	if err != nil {
		return nil, err
	}
	return out, unstructured.SetNestedField(out, r.Namespace, "metadata", "namespace")
}

// selfSubjectAccess answers whether the user who asks may do something.
type selfSubjectAccess struct{ *Config }

func (h selfSubjectAccess) CreateVirtual(ctx context.Context, r *resource.Request) (map[string]any, error) {
	var review authorizationv1.SelfSubjectAccessReview
	if err := decode(r, &review); err != nil {
		return nil, err
	}
	errs := append(validateAttributes(review.Spec.ResourceAttributes, review.Spec.NonResourceAttributes, field.NewPath("spec")), validateMeta(review.ObjectMeta, metav1.ObjectMeta{}, "must be empty")...)
	if len(errs) > 0 {
		return nil, invalid(errs)
	}
	return h.decide(ctx, r, r.User, review.Spec.ResourceAttributes, review.Spec.NonResourceAttributes)
}

// invalid is upstream's answer to a question that makes no sense: it names no kind.
func invalid(errs field.ErrorList) error {
	return apierrors.NewInvalid(runtimeschema.GroupKind{Group: authorization}, "", errs)
}

// validateMeta refuses metadata, of which a question has none but what is allowed.
func validateMeta(meta, allowed metav1.ObjectMeta, detail string) field.ErrorList {
	meta.ManagedFields = nil
	if reflect.DeepEqual(meta, allowed) {
		return nil
	}
	return field.ErrorList{field.Invalid(field.NewPath("metadata"), meta, detail)}
}

func validateSubject(spec *authorizationv1.SubjectAccessReviewSpec, path *field.Path) field.ErrorList {
	errs := validateAttributes(spec.ResourceAttributes, spec.NonResourceAttributes, path)
	if spec.User == "" && len(spec.Groups) == 0 {
		errs = append(errs, field.Invalid(path.Child("user"), spec.User, "at least one of user or group must be specified"))
	}
	return errs
}

func validateAttributes(a *authorizationv1.ResourceAttributes, n *authorizationv1.NonResourceAttributes, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	switch {
	case a != nil && n != nil:
		errs = field.ErrorList{field.Invalid(path.Child("nonResourceAttributes"), n, "cannot be specified in combination with resourceAttributes")}
	case a == nil && n == nil:
		errs = field.ErrorList{field.Invalid(path.Child("resourceAttributes"), a, "exactly one of nonResourceAttributes or resourceAttributes must be specified")}
	}
	return append(errs, validateSelectors(a, path.Child("resourceAttributes"))...)
}

func userOf(spec *authorizationv1.SubjectAccessReviewSpec) resource.User {
	u := resource.User{Name: spec.User, UID: spec.UID, Groups: spec.Groups}
	for k, v := range spec.Extra {
		if u.Extra == nil {
			u.Extra = map[string][]string{}
		}
		u.Extra[k] = v
	}
	return u
}

func (c *Config) decide(ctx context.Context, r *resource.Request, user resource.User, a *authorizationv1.ResourceAttributes, n *authorizationv1.NonResourceAttributes) (map[string]any, error) {
	at := auth.Attributes{User: user}
	var problems []string
	if a != nil {
		var ignored [2]string
		at.FieldSelector, ignored[0] = fieldText(a.FieldSelector)
		at.LabelSelector, ignored[1] = labelText(a.LabelSelector)
		for i, what := range ignored {
			if what != "" {
				problems = append(problems, "spec.resourceAttributes."+[...]string{"fieldSelector", "labelSelector"}[i]+" "+what)
			}
		}
		at.Verb, at.Group, at.Version, at.Resource, at.Subresource = a.Verb, a.Group, a.Version, a.Resource, a.Subresource
		at.Namespace, at.Name = a.Namespace, a.Name
		if at.Resource == "" {
			// Without a resource these would be taken for the attributes of a path.
			at.Resource = "\x00"
		}
	} else {
		at.Verb, at.Path = n.Verb, n.Path
	}
	ok, reason, err := c.Authorizer.Authorize(ctx, at)
	status := authorizationv1.SubjectAccessReviewStatus{Allowed: ok, Denied: auth.IsDenied(err), Reason: reason}
	if failed := auth.Failure(err); failed != nil {
		problems = append([]string{failed.Error()}, problems...)
	}
	status.EvaluationError = strings.Join(problems, "; ")
	return answer(r, &status)
}

// selfSubjectRules lists what the user who asks may do in a namespace.
type selfSubjectRules struct{ *Config }

func (h selfSubjectRules) CreateVirtual(_ context.Context, r *resource.Request) (map[string]any, error) {
	var review authorizationv1.SelfSubjectRulesReview
	if err := decode(r, &review); err != nil {
		return nil, err
	}
	if review.Spec.Namespace == "" {
		return nil, apierrors.NewBadRequest("no namespace on request")
	}
	status := authorizationv1.SubjectRulesReviewStatus{
		ResourceRules: []authorizationv1.ResourceRule{}, NonResourceRules: []authorizationv1.NonResourceRule{},
	}
	chain, configured := h.Authorizer.(chain)
	if !configured || chain.Uses("RBAC") {
		for _, p := range h.Rules.Rules(r.User, review.Spec.Namespace) {
			addRule(&status, &p)
		}
	}
	if isNode(r.User) && (!configured || chain.Uses("Node")) {
		status.Incomplete = true
		status.EvaluationError = "node authorizer does not support user rule resolution"
	}
	if configured {
		if why := chain.Incomplete(); why != "" {
			status.Incomplete = true
			status.EvaluationError = strings.TrimPrefix(status.EvaluationError+", "+why, ", ")
		}
	}
	return answer(r, &status)
}

// chain is an authorizer made of those that somebody has chosen.
type chain interface {
	// Uses reports whether there is one of a type, as Node or RBAC.
	Uses(typ string) bool
	// Incomplete says why the rules are not all that it allows, or "".
	Incomplete() string
}

func addRule(status *authorizationv1.SubjectRulesReviewStatus, p *rbacv1.PolicyRule) {
	if len(p.Resources) > 0 {
		status.ResourceRules = append(status.ResourceRules, authorizationv1.ResourceRule{
			Verbs: p.Verbs, APIGroups: p.APIGroups, Resources: p.Resources, ResourceNames: p.ResourceNames,
		})
	}
	if len(p.NonResourceURLs) > 0 {
		status.NonResourceRules = append(status.NonResourceRules, authorizationv1.NonResourceRule{Verbs: p.Verbs, NonResourceURLs: p.NonResourceURLs})
	}
}
