package policy

import (
	"context"
	"encoding/json"
	"fmt"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/pintle-dev/pintle/core/admission/match"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// Check validates objects of the four kinds when they are written, with upstream's paths and
// messages, and whether who writes one may read the parameters it is about. It is for
// objects with their defaults, and has nothing to say about other kinds and subresources.
func (p *Policies) Check(ctx context.Context, r *resource.Request) field.ErrorList {
	if r.Subresource != "" || r.Object == nil || r.Resource.Group != admissionregistrationv1.GroupName {
		return nil
	}
	switch r.Resource.Resource {
	case validatingPolicies:
		return check(ctx, r, p.checkValidating)
	case mutatingPolicies:
		return check(ctx, r, p.checkMutating)
	case validatingBindings:
		return check(ctx, r, p.checkValidatingBinding)
	case mutatingBindings:
		return check(ctx, r, p.checkMutatingBinding)
	}
	return nil
}

// check reads the objects of a request; old is nil on create.
func check[T any](ctx context.Context, r *resource.Request, with func(ctx context.Context, r *resource.Request, now, old *T) field.ErrorList) field.ErrorList {
	now, err := objectOf[T](r.Object)
	if err != nil {
		return field.ErrorList{field.InternalError(nil, err)}
	}
	old, err := objectOf[T](r.Old)
	if err != nil {
		return field.ErrorList{field.InternalError(nil, err)}
	}
	return with(ctx, r, now, old)
}

func objectOf[T any](tree map[string]any) (*T, error) {
	if tree == nil {
		return nil, nil
	}
	data, err := json.Marshal(tree)
	if err != nil {
		return nil, fmt.Errorf("encode an object of admission: %w", err)
	}
	out := new(T)
	if err := json.Unmarshal(data, out); err != nil {
		return nil, fmt.Errorf("decode an object of admission: %w", err)
	}
	return out, nil
}

func (p *Policies) checkValidating(ctx context.Context, r *resource.Request, now, old *admissionregistrationv1.ValidatingAdmissionPolicy) field.ErrorList {
	spec, path := &now.Spec, field.NewPath("spec")
	c := &checker{params: spec.ParamKind != nil, compose: len(spec.Variables) > 0}
	sameConditions := false
	if old != nil {
		c.accepted(old.Spec.MatchConditions, nil)
		for _, v := range old.Spec.Validations {
			c.known(v.Expression, v.MessageExpression)
		}
		for _, a := range old.Spec.AuditAnnotations {
			c.known(a.ValueExpression)
		}
		sameConditions = apiequality.Semantic.DeepEqual(old.Spec.ParamKind, spec.ParamKind) &&
			apiequality.Semantic.DeepEqual(old.Spec.MatchConditions, spec.MatchConditions)
	}
	errs := c.head(path, spec.FailurePolicy, spec.ParamKind, spec.MatchConstraints)
	if !sameConditions {
		errs = append(errs, c.conditions(spec.MatchConditions, path.Child("matchConditions"))...)
	}
	errs = append(errs, c.variables(spec.Variables, path.Child("variables"))...)
	if len(spec.Validations) == 0 && len(spec.AuditAnnotations) == 0 {
		const message = "validations or auditAnnotations must contain at least one item"
		errs = append(errs, field.Required(path.Child("validations"), message), field.Required(path.Child("auditAnnotations"), message))
	}
	for i := range spec.Validations {
		errs = append(errs, c.validation(&spec.Validations[i], path.Child("validations").Index(i))...)
	}
	errs = append(errs, c.auditAnnotations(now.Name, spec.AuditAnnotations, path.Child("auditAnnotations"))...)
	if len(errs) > 0 {
		return errs
	}
	if old != nil && apiequality.Semantic.DeepEqual(old.Spec.ParamKind, spec.ParamKind) {
		return nil
	}
	return p.mayReadKind(ctx, r.User, spec.ParamKind, path.Child("paramKind"))
}

func (p *Policies) checkMutating(ctx context.Context, r *resource.Request, now, old *admissionregistrationv1.MutatingAdmissionPolicy) field.ErrorList {
	spec, path := &now.Spec, field.NewPath("spec")
	c := &checker{params: spec.ParamKind != nil, compose: true}
	sameConditions := false
	if old != nil {
		c.accepted(old.Spec.MatchConditions, nil)
		for _, m := range old.Spec.Mutations {
			if m.ApplyConfiguration != nil {
				c.known(m.ApplyConfiguration.Expression)
			}
			if m.JSONPatch != nil {
				c.known(m.JSONPatch.Expression)
			}
		}
		sameConditions = apiequality.Semantic.DeepEqual(old.Spec.ParamKind, spec.ParamKind) &&
			apiequality.Semantic.DeepEqual(old.Spec.MatchConditions, spec.MatchConditions)
	}
	errs := c.head(path, spec.FailurePolicy, spec.ParamKind, spec.MatchConstraints)
	errs = append(errs, mutableOperations(spec.MatchConstraints, path.Child("matchConstraints"))...)
	if !sameConditions {
		errs = append(errs, c.conditions(spec.MatchConditions, path.Child("matchConditions"))...)
	}
	errs = append(errs, c.variables(spec.Variables, path.Child("variables"))...)
	if len(spec.Mutations) == 0 {
		errs = append(errs, field.Required(path.Child("mutations"), "mutations must contain at least one item"))
	}
	for i := range spec.Mutations {
		errs = append(errs, c.mutation(&spec.Mutations[i], path.Child("mutations").Index(i))...)
	}
	if spec.ReinvocationPolicy == "" {
		errs = append(errs, field.Required(path.Child("reinvocationPolicy"), ""))
	} else {
		errs = append(errs, match.CheckOneOf(path.Child("reinvocationPolicy"), spec.ReinvocationPolicy,
			admissionregistrationv1.IfNeededReinvocationPolicy, admissionregistrationv1.NeverReinvocationPolicy)...)
	}
	if len(errs) > 0 {
		return errs
	}
	if old != nil && apiequality.Semantic.DeepEqual(old.Spec.ParamKind, spec.ParamKind) {
		return nil
	}
	return p.mayReadKind(ctx, r.User, spec.ParamKind, path.Child("paramKind"))
}

func (p *Policies) checkValidatingBinding(ctx context.Context, r *resource.Request, now, old *admissionregistrationv1.ValidatingAdmissionPolicyBinding) field.ErrorList {
	path := field.NewPath("spec")
	errs := checkBinding(path, now.Spec.PolicyName, now.Spec.ParamRef, now.Spec.MatchResources)
	errs = append(errs, validationActions(now.Spec.ValidationActions, path.Child("validationActions"))...)
	if len(errs) > 0 {
		return errs
	}
	if old != nil && old.Spec.PolicyName == now.Spec.PolicyName && apiequality.Semantic.DeepEqual(old.Spec.ParamRef, now.Spec.ParamRef) {
		return nil
	}
	return p.mayReadParams(ctx, r, validatingPolicies, now.Spec.PolicyName, now.Spec.ParamRef, path.Child("paramRef"))
}

func (p *Policies) checkMutatingBinding(ctx context.Context, r *resource.Request, now, old *admissionregistrationv1.MutatingAdmissionPolicyBinding) field.ErrorList {
	path := field.NewPath("spec")
	errs := checkBinding(path, now.Spec.PolicyName, now.Spec.ParamRef, now.Spec.MatchResources)
	errs = append(errs, mutableOperations(now.Spec.MatchResources, path.Child("matchResources"))...)
	if len(errs) > 0 {
		return errs
	}
	if old != nil && old.Spec.PolicyName == now.Spec.PolicyName && apiequality.Semantic.DeepEqual(old.Spec.ParamRef, now.Spec.ParamRef) {
		return nil
	}
	return p.mayReadParams(ctx, r, mutatingPolicies, now.Spec.PolicyName, now.Spec.ParamRef, path.Child("paramRef"))
}
