package quota

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
)

// Refusal is the reason why a request may not be done: it is forbidden, not broken.
type Refusal struct{ message string }

func (r *Refusal) Error() string { return r.message }

func refuse(format string, args ...any) error { return &Refusal{fmt.Sprintf(format, args...)} }

type typeError struct {
	want string
	got  any
}

func (e *typeError) Error() string { return fmt.Sprintf("expected a %s, got %T", e.want, e.got) }

// Check returns, for each of the quotas of a namespace, what its usage is with a request, or
// nil where the request changes nothing of it. A *Refusal says that the request does not fit.
func Check(ctx context.Context, quotas []*corev1.ResourceQuota, e Evaluator, r Request) ([]corev1.ResourceList, error) {
	var pertinent []int
	for i, q := range quotas {
		ok, err := matches(q, e, r.Object)
		if err != nil {
			return nil, err
		}
		if !ok {
			continue
		}
		names := e.Names(Names(q.Status.Hard))
		if err := e.Constrain(names, r.Object); err != nil {
			return nil, refuse("failed quota: %s: %v", q.Name, err)
		}
		if !counted(q, names) {
			return nil, refuse("status unknown for quota: %s, resources: %s", q.Name, textOf(names))
		}
		pertinent = append(pertinent, i)
	}
	if len(pertinent) == 0 {
		return nil, nil
	}
	usage, err := e.Usage(ctx, r.Object)
	if err != nil {
		return nil, err
	}
	if names := negative(usage); len(names) > 0 {
		return nil, refuse("quota usage is negative for resource(s): %s", textOf(names))
	}
	var before corev1.ResourceList
	if r.Operation == Update {
		if before, err = e.Usage(ctx, r.Old); err != nil {
			return nil, err
		}
	}
	var out []corev1.ResourceList
	for _, i := range pertinent {
		q := quotas[i]
		delta := used(usage)
		if r.Operation == Update {
			was, err := matches(q, e, r.Old)
			if err != nil {
				return nil, err
			}
			if was {
				delta = increase(usage, before)
			}
		}
		delta = Mask(delta, Names(q.Status.Hard))
		if len(delta) == 0 {
			continue
		}
		sum := Add(q.Status.Used, delta)
		if over := exceeding(Mask(sum, Names(delta)), q.Status.Hard); len(over) > 0 && r.Subresource != "status" {
			return nil, refuse("exceeded quota: %s, requested: %s, used: %s, limited: %s", q.Name,
				text(Mask(delta, over)), text(Mask(q.Status.Used, over)), text(Mask(q.Status.Hard, over)))
		}
		if out == nil {
			out = make([]corev1.ResourceList, len(quotas))
		}
		out[i] = sum
	}
	return out, nil
}

// matches reports whether a quota counts an object: it limits something of its type, and
// the object is in all of its scopes.
func matches(q *corev1.ResourceQuota, e Evaluator, object any) (bool, error) {
	if len(e.Names(Names(q.Status.Hard))) == 0 {
		return false, nil
	}
	return InScopes(q, e, object)
}

// InScopes reports whether an object is in all scopes of a quota.
func InScopes(q *corev1.ResourceQuota, e Evaluator, object any) (bool, error) {
	for _, scope := range scopes(q) {
		ok, err := e.InScope(scope, object)
		if err != nil {
			return false, fmt.Errorf("error matching scopes of quota %s, err: error on matching scope %v: %w", q.Name, scope, err)
		}
		if !ok {
			return false, nil
		}
	}
	return true, nil
}

func scopes(q *corev1.ResourceQuota) []corev1.ScopedResourceSelectorRequirement {
	var out []corev1.ScopedResourceSelectorRequirement
	for _, s := range q.Spec.Scopes {
		out = append(out, corev1.ScopedResourceSelectorRequirement{ScopeName: s, Operator: corev1.ScopeSelectorOpExists})
	}
	if q.Spec.ScopeSelector != nil {
		out = append(out, q.Spec.ScopeSelector.MatchExpressions...)
	}
	return out
}

// counted reports whether a quota knows what is used of all names.
func counted(q *corev1.ResourceQuota, names []corev1.ResourceName) bool {
	return !slices.ContainsFunc(names, func(name corev1.ResourceName) bool {
		_, known := q.Status.Used[name]
		return !known
	})
}

// selector makes a selector of a scope with values; the scope's name is the label.
func selector(scope corev1.ScopedResourceSelectorRequirement) (labels.Selector, error) {
	operators := map[corev1.ScopeSelectorOperator]selection.Operator{
		corev1.ScopeSelectorOpIn:           selection.In,
		corev1.ScopeSelectorOpNotIn:        selection.NotIn,
		corev1.ScopeSelectorOpExists:       selection.Exists,
		corev1.ScopeSelectorOpDoesNotExist: selection.DoesNotExist,
	}
	op, ok := operators[scope.Operator]
	if !ok {
		return nil, fmt.Errorf("%q is not a valid scope selector operator", scope.Operator)
	}
	requirement, err := labels.NewRequirement(string(scope.ScopeName), op, scope.Values)
	if err != nil {
		return nil, fmt.Errorf("failed to parse and convert selector: %w", err)
	}
	return labels.NewSelector().Add(*requirement), nil
}
