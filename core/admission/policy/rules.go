package policy

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"sync"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"github.com/pintle-dev/pintle/core/admission/match"
)

// policy is a policy of either sort.
type policy struct {
	name       string
	uid        types.UID
	generation int64
	// observed is the generation whose type checking is in the status, under family.mu.
	observed int64

	criteria *match.Criteria
	// broken says why the criteria can't be used.
	broken error
	// ignore is the failure policy Ignore.
	ignore     bool
	paramKind  *admissionregistrationv1.ParamKind
	conditions []admissionregistrationv1.MatchCondition
	variables  []admissionregistrationv1.Variable

	// One of the two, as the policy's sort is.
	validating *admissionregistrationv1.ValidatingAdmissionPolicySpec
	mutating   *admissionregistrationv1.MutatingAdmissionPolicySpec

	once      sync.Once
	validates *validations
	mutates   *mutations
}

// binding is a binding of either sort.
type binding struct {
	name, policy string
	criteria     *match.Criteria
	broken       error
	params       *admissionregistrationv1.ParamRef
	selector     labels.Selector
	actions      []admissionregistrationv1.ValidationAction
}

func newValidatingPolicy(o *admissionregistrationv1.ValidatingAdmissionPolicy) *policy {
	p := &policy{
		name: o.Name, uid: o.UID, generation: o.Generation, observed: o.Status.ObservedGeneration,
		paramKind: o.Spec.ParamKind, conditions: o.Spec.MatchConditions, variables: o.Spec.Variables,
		ignore: ignores(o.Spec.FailurePolicy), validating: &o.Spec,
	}
	p.criteria, p.broken = criteriaOf(o.Spec.MatchConstraints)
	return p
}

func newMutatingPolicy(o *admissionregistrationv1.MutatingAdmissionPolicy) *policy {
	p := &policy{
		name: o.Name, uid: o.UID, generation: o.Generation,
		paramKind: o.Spec.ParamKind, conditions: o.Spec.MatchConditions, variables: o.Spec.Variables,
		ignore: ignores(o.Spec.FailurePolicy), mutating: &o.Spec,
	}
	p.criteria, p.broken = criteriaOf(o.Spec.MatchConstraints)
	return p
}

func ignores(f *admissionregistrationv1.FailurePolicyType) bool {
	return f != nil && *f == admissionregistrationv1.Ignore
}

func criteriaOf(m *admissionregistrationv1.MatchResources) (*match.Criteria, error) {
	if m == nil {
		return nil, fmt.Errorf("policy contained no match constraints, a required field")
	}
	return match.Resources(m)
}

func newBinding(name, policy string, params *admissionregistrationv1.ParamRef, m *admissionregistrationv1.MatchResources,
	actions []admissionregistrationv1.ValidationAction) *binding {
	b := &binding{name: name, policy: policy, params: params, actions: actions}
	b.criteria, b.broken = match.Resources(m)
	if params != nil && params.Selector != nil && b.broken == nil {
		b.selector, b.broken = metav1.LabelSelectorAsSelector(params.Selector)
	}
	return b
}

// join makes what is in force of policies and bindings. Policies and the bindings of each
// are in the order of their names.
func join(policies map[string]*policy, bindings map[string]*binding) *[]*rule {
	byPolicy := map[string]*rule{}
	for _, name := range slices.Sorted(maps.Keys(bindings)) {
		b := bindings[name]
		p := policies[b.policy]
		if p == nil {
			continue
		}
		r := byPolicy[b.policy]
		if r == nil {
			r = &rule{policy: p}
			byPolicy[b.policy] = r
		}
		r.bindings = append(r.bindings, b)
	}
	all := slices.SortedFunc(maps.Values(byPolicy), func(a, b *rule) int { return cmp.Compare(a.name, b.name) })
	return &all
}
