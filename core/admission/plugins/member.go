package plugins

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"

	"github.com/pintle-dev/pintle/core/admission/match"
	"github.com/pintle-dev/pintle/core/internal/place"
	"github.com/pintle-dev/pintle/sdk/admission"
)

// terms are a profile as requests are matched by it. They are immutable.
type terms struct {
	Profile
	criteria []*match.Criteria
	exempt   map[string]bool
}

func compile(p Profile) (*terms, error) {
	if err := p.Declaration.Complete(); err != nil {
		return nil, fmt.Errorf("declaration: %w", err)
	}
	t := &terms{Profile: p, exempt: map[string]bool{}}
	for _, ns := range p.ExemptNamespaces {
		t.exempt[ns] = true
	}
	for i := range p.Declaration.Rules {
		c, err := criteria(&p.Declaration.Rules[i])
		if err != nil {
			return nil, fmt.Errorf("declaration: rules[%d].%w", i, err)
		}
		t.criteria = append(t.criteria, c)
	}
	return t, nil
}

// criteria are a rule in the terms of a webhook's, which it is matched as.
func criteria(r *admission.Rule) (*match.Criteria, error) {
	scope := admissionregistrationv1.ScopeType(r.Scope)
	rule := admissionregistrationv1.RuleWithOperations{Rule: admissionregistrationv1.Rule{
		APIGroups: r.APIGroups, APIVersions: r.APIVersions, Resources: r.Resources, Scope: &scope,
	}}
	for _, op := range r.Operations {
		rule.Operations = append(rule.Operations, admissionregistrationv1.OperationType(op))
	}
	return match.Webhook([]admissionregistrationv1.RuleWithOperations{rule}, nil, r.NamespaceSelector, r.ObjectSelector)
}

// wants reports whether a plugin is asked about a request, and as what.
func (t *terms) wants(ctx context.Context, r *admission.Request, eq match.Equivalents) (match.Target, bool, error) {
	if t.exempt[match.Namespace(r)] && match.Namespace(r) != "" {
		return match.Target{}, false, nil
	}
	for _, c := range t.criteria {
		if target, ok, err := c.Match(ctx, r, eq); ok || err != nil {
			return target, ok, err
		}
	}
	return match.Target{}, false, nil
}

// member is the place of one plugin.
type member struct {
	name  string
	terms atomic.Pointer[terms]
	place place.Place[life]
}

// life is one life of a plugin, in the steps in which it takes part.
type life struct {
	mutator   admission.Mutator
	validator admission.Validator
}

// patience is how long a request waits for a plugin that is away: it may be about to come back.
const patience = 2 * time.Second
