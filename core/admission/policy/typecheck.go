package policy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	apiservercel "k8s.io/apiserver/pkg/cel"

	"github.com/pintle-dev/pintle/core/admission/cel"
	"github.com/pintle-dev/pintle/crd/registry"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// recheck is how long statuses wait that could not be written: because another server
// leads, or because of an error.
const recheck = 5 * time.Second

// RunTypeChecking keeps the status of ValidatingAdmissionPolicies until ctx ends: what is
// known to be wrong with their expressions. Only a server that is leading writes.
func (p *Policies) RunTypeChecking(ctx context.Context, w resource.Writer, leading func() bool) error {
	for {
		var again <-chan time.Time
		for _, pol := range p.unchecked() {
			if !leading() {
				again = time.After(recheck)
				break
			}
			if err := p.writeStatus(ctx, w, pol); err != nil && ctx.Err() == nil {
				p.log.Warn("the status of an admission policy could not be written; trying again", "policy", pol.name, "error", err)
				again = time.After(recheck)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-p.written:
		case <-again:
		}
	}
}

// unchecked are the policies whose status is of an older generation.
func (p *Policies) unchecked() []*policy {
	f := p.validating
	f.mu.Lock()
	defer f.mu.Unlock()
	var list []*policy
	for _, pol := range f.policies {
		if pol.observed < pol.generation {
			list = append(list, pol)
		}
	}
	return list
}

func (p *Policies) writeStatus(ctx context.Context, w resource.Writer, pol *policy) error {
	warnings := p.typeCheck(pol)
	list := make([]any, len(warnings))
	for i, warning := range warnings {
		list[i] = map[string]any{"fieldRef": warning.FieldRef, "warning": warning.Warning}
	}
	gr := schema.GroupResource{Group: admissionregistrationv1.GroupName, Resource: validatingPolicies}
	err := w.ChangeStatus(ctx, gr, "", pol.name, func(object map[string]any) error {
		meta, _ := object["metadata"].(map[string]any)
		if generation, _ := meta["generation"].(int64); generation != pol.generation {
			return resource.ErrUnchanged // the newer one is on its way here
		}
		status, ok := object["status"].(map[string]any)
		if !ok {
			status = map[string]any{}
			object["status"] = status
		}
		status["observedGeneration"] = pol.generation
		checking := map[string]any{}
		if len(list) > 0 {
			checking["expressionWarnings"] = list
		}
		status["typeChecking"] = checking
		return nil
	})
	if err != nil && !apierrors.IsNotFound(err) && !errors.Is(err, resource.ErrUnchanged) {
		return fmt.Errorf("write status: %w", err)
	}
	return nil
}

// checkedType is a kind that a policy's rules name, with a checker for it.
type checkedType struct {
	kind    schema.GroupVersionKind
	checker *cel.TypeChecker
}

// typeCheck checks a policy's expressions against the schemas of what its rules name.
func (p *Policies) typeCheck(pol *policy) []admissionregistrationv1.ExpressionWarning {
	var checked []checkedType
	params, hasParams := p.paramDeclType(pol)
	for _, t := range p.namedTypes(pol.validating.MatchConstraints) {
		object, err := declType(t, t.GVK.Kind)
		if err != nil {
			p.log.Warn("an admission policy is not checked against a type", "policy", pol.name, "kind", t.GVK.String(), "error", err)
			continue
		}
		c, err := cel.NewTypeChecker(object, params, hasParams)
		if err != nil {
			p.log.Warn("an admission policy is not checked against a type", "policy", pol.name, "kind", t.GVK.String(), "error", err)
			continue
		}
		for _, v := range pol.variables {
			c.Variable(v.Name, v.Expression)
		}
		checked = append(checked, checkedType{t.GVK, c})
	}
	var warnings []admissionregistrationv1.ExpressionWarning
	check := func(path *field.Path, expression string) {
		var issues []string
		for _, c := range checked {
			switch err := c.checker.Check(expression); {
			case err == nil:
			case err.Type == apiservercel.ErrorTypeInvalid:
				issues = append(issues, fmt.Sprintf("%v: %s\n", c.kind, err))
			default:
				issues = append(issues, fmt.Sprintf("%v: type checking error: %v\n", c.kind, err))
			}
		}
		if len(issues) > 0 {
			warnings = append(warnings, admissionregistrationv1.ExpressionWarning{FieldRef: path.String(), Warning: strings.Join(issues, "\n")})
		}
	}
	path := field.NewPath("spec", "validations")
	for i, v := range pol.validating.Validations {
		check(path.Index(i).Child("expression"), v.Expression)
		if v.MessageExpression != "" {
			check(path.Index(i).Child("messageExpression"), v.MessageExpression)
		}
	}
	return warnings
}

func (p *Policies) paramDeclType(pol *policy) (*apiservercel.DeclType, bool) {
	if pol.paramKind == nil {
		return nil, false
	}
	t, err := p.paramType(pol.paramKind)
	if err != nil {
		return nil, true // it may be registered later
	}
	d, err := declType(t, t.GVK.Kind+"Params")
	if err != nil {
		p.log.Warn("the parameters of an admission policy are not checked", "policy", pol.name, "error", err)
		return nil, true
	}
	return d, true
}

// maxTypes is how many types a policy is checked against.
const maxTypes = 10

// namedTypes are the types that rules name without wildcards and that are served, in the
// order of their kinds.
func (p *Policies) namedTypes(m *admissionregistrationv1.MatchResources) []*registry.Type {
	if m == nil {
		return nil
	}
	found := map[schema.GroupVersionKind]*registry.Type{}
	for i := range m.ResourceRules {
		for gvr := range named(&m.ResourceRules[i]) {
			if t, ok := p.registry.Lookup(gvr); ok && len(found) < maxTypes {
				found[t.GVK] = t
			}
		}
	}
	types := make([]*registry.Type, 0, len(found))
	for _, t := range found {
		types = append(types, t)
	}
	slices.SortFunc(types, func(a, b *registry.Type) int {
		return cmp.Or(cmp.Compare(a.GVK.Group, b.GVK.Group), cmp.Compare(a.GVK.Version, b.GVK.Version), cmp.Compare(a.GVK.Kind, b.GVK.Kind))
	})
	return types
}

// named yields the resources that a rule names.
func named(r *admissionregistrationv1.NamedRuleWithOperations) func(func(schema.GroupVersionResource) bool) {
	wild := func(s string) bool { return strings.Contains(s, "*") }
	return func(yield func(schema.GroupVersionResource) bool) {
		if slices.ContainsFunc(r.APIGroups, wild) || slices.ContainsFunc(r.APIVersions, wild) {
			return
		}
		for _, group := range r.APIGroups {
			for _, version := range r.APIVersions {
				for _, name := range r.Resources {
					if strings.ContainsAny(name, "*/") {
						continue
					}
					if !yield(schema.GroupVersionResource{Group: group, Version: version, Resource: name}) {
						return
					}
				}
			}
		}
	}
}
