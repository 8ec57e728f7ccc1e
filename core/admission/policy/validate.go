package policy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/cel-go/common/types"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	plugincel "k8s.io/apiserver/pkg/admission/plugin/cel"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	apiservercel "k8s.io/apiserver/pkg/cel"

	"github.com/pintle-dev/pintle/core/admission/cel"
	"github.com/pintle-dev/pintle/core/admission/match"
	"github.com/pintle-dev/pintle/sdk/admission"
)

// validations are a compiled ValidatingAdmissionPolicy.
type validations struct {
	// broken says why nothing could be compiled.
	broken                          error
	conditions                      *cel.Conditions
	expressions, messages, annotate plugincel.ConditionEvaluator
}

// compiled compiles the policy when it is first needed.
func (p *policy) compiledValidations() *validations {
	p.once.Do(func() {
		v := &validations{}
		p.validates = v
		c, err := p.compiler()
		if err != nil {
			v.broken = err
			return
		}
		spec := p.validating
		v.conditions = c.Conditions(p.conditions, p.declared(), cel.StoredExpressions)
		expressions, messages := make([]cel.Expression, len(spec.Validations)), make([]cel.Expression, len(spec.Validations))
		for i, one := range spec.Validations {
			expressions[i] = validation(one.Expression)
			if one.MessageExpression != "" {
				messages[i] = message(one.MessageExpression)
			}
		}
		annotations := make([]cel.Expression, len(spec.AuditAnnotations))
		for i, one := range spec.AuditAnnotations {
			annotations[i] = auditValue(one.ValueExpression)
		}
		v.expressions = c.All(expressions, p.declared(), cel.StoredExpressions)
		v.messages = c.All(messages, cel.Declared{HasParams: p.paramKind != nil}, cel.StoredExpressions)
		v.annotate = c.All(annotations, p.declared(), cel.StoredExpressions)
	})
	return p.validates
}

// decision is what one validation says of a request.
type decision struct {
	// denied says that the request is to be refused, failed that the expression could
	// not be evaluated.
	denied, failed bool
	reason         metav1.StatusReason
	message        string
	elapsed        time.Duration
}

// annotation is what one audit annotation is worth: its value, or why it has none.
type annotation struct {
	key, value string
	failure    *decision
}

// refusal is a decision with its policy and, unless the policy itself is at fault, its
// binding.
type refusal struct {
	decision
	policy  *policy
	binding *binding
}

func (r *refusal) String() string {
	if r.binding == nil {
		return fmt.Sprintf("ValidatingAdmissionPolicy '%s' denied request: %s", r.policy.name, r.message)
	}
	return fmt.Sprintf("ValidatingAdmissionPolicy '%s' with binding '%s' denied request: %s", r.policy.name, r.binding.name, r.message)
}

// Validate implements admission.Validator.
func (v validator) Validate(ctx context.Context, r *admission.Request) error {
	rules, err := v.validating.current(ctx, r)
	if err != nil || len(rules) == 0 {
		return err
	}
	round := &round{Policies: v.Policies, request: r}
	for _, rule := range rules {
		if err := round.ask(ctx, rule); err != nil {
			return err
		}
	}
	if len(round.refusals) == 0 {
		return nil
	}
	first := &round.refusals[0]
	status, err := refused(r, first.String())
	if err != nil {
		return err
	}
	return withReason(status, first.reason, first.String())
}

// round is one request on its way through the validating policies.
type round struct {
	*Policies
	inputs
	request  *admission.Request
	refusals []refusal
}

// misconfigured refuses the request where a policy or binding can't be used and failures
// are not ignored.
func (o *round) misconfigured(p *policy, b *binding, err error) {
	if p.ignore {
		return
	}
	what := "policy"
	if b != nil {
		what = "binding"
	}
	o.refusals = append(o.refusals, refusal{decision{denied: true, message: fmt.Sprintf("failed to configure %s: %v", what, err)}, p, b})
}

// ask asks one policy with each of its bindings and parameters.
func (o *round) ask(ctx context.Context, rule *rule) error {
	target, ok, err := rule.match(ctx, o.request, o.equivalents)
	if err != nil {
		o.misconfigured(rule.policy, nil, err)
		return nil
	}
	if !ok {
		return nil
	}
	paramType, err := o.paramType(rule.paramKind)
	if err != nil {
		o.misconfigured(rule.policy, nil, err)
		return nil
	}
	annotations := annotations{}
	for _, b := range rule.bindings {
		if ok, err := b.match(ctx, o.request, o.equivalents); err != nil || !ok {
			if err != nil {
				o.misconfigured(rule.policy, b, err)
			}
			continue
		}
		list, err := params(ctx, o.request, paramType, b)
		if err != nil {
			o.misconfigured(rule.policy, b, err)
			continue
		}
		for _, param := range list {
			in, err := o.input(ctx, o.Policies, o.request, target, param)
			if err != nil {
				if in == nil && isStatus(err) {
					return err
				}
				o.misconfigured(rule.policy, b, fmt.Errorf("failed to convert object version: %w", err))
				break
			}
			decisions, values := rule.evaluate(ctx, in)
			o.enforce(rule.policy, b, decisions)
			for _, a := range values {
				if a.failure != nil {
					o.refusals = append(o.refusals, refusal{*a.failure, rule.policy, b})
					o.metrics.check(rule.name, b.name, "deny", a.failure)
					continue
				}
				annotations.add(a.key, a.value)
			}
		}
	}
	for key, values := range annotations {
		o.request.Annotate(rule.name+"/"+key, strings.Join(values, ", "))
	}
	return nil
}

// enforce does what a binding asks for where validations have failed.
func (o *round) enforce(p *policy, b *binding, decisions []decision) {
	for i := range decisions {
		d := &decisions[i]
		if !d.denied {
			if d.failed {
				o.metrics.check(p.name, b.name, "allow", d)
			}
			continue
		}
		for _, action := range b.actions {
			switch action {
			case admissionregistrationv1.Deny:
				o.refusals = append(o.refusals, refusal{*d, p, b})
				o.metrics.check(p.name, b.name, "deny", d)
			case admissionregistrationv1.Audit:
				o.audit(p, b, i, d)
				o.metrics.check(p.name, b.name, "audit", d)
			case admissionregistrationv1.Warn:
				o.request.Warnings = append(o.request.Warnings,
					fmt.Sprintf("Validation failed for ValidatingAdmissionPolicy '%s' with binding '%s': %s", p.name, b.name, d.message))
				o.metrics.check(p.name, b.name, "warn", d)
			}
		}
	}
}

// audit notes a failed validation in the request's audit event.
func (o *round) audit(p *policy, b *binding, index int, d *decision) {
	value, err := json.Marshal([]struct {
		Message           string                                     `json:"message"`
		Policy            string                                     `json:"policy"`
		Binding           string                                     `json:"binding"`
		ExpressionIndex   int                                        `json:"expressionIndex"`
		ValidationActions []admissionregistrationv1.ValidationAction `json:"validationActions"`
	}{{d.message, p.name, b.name, index, b.actions}})
	if err != nil {
		o.log.Warn("a failed validation is missing in the audit log", "policy", p.name, "binding", b.name, "error", err)
		return
	}
	o.request.Annotate("validation.policy.admission.k8s.io/validation_failure", string(value))
}

// annotations are the distinct values of audit annotations, by key.
type annotations map[string][]string

func (a annotations) add(key, value string) {
	for _, v := range a[key] {
		if v == value {
			return
		}
	}
	a[key] = append(a[key], value)
}

// match reports whether a policy is about a request, and as what it sees it.
func (p *policy) match(ctx context.Context, r *admission.Request, eq match.Equivalents) (match.Target, bool, error) {
	if p.broken != nil {
		return match.Target{}, false, p.broken
	}
	return p.criteria.Match(ctx, r, eq)
}

func (b *binding) match(ctx context.Context, r *admission.Request, eq match.Equivalents) (bool, error) {
	if b.broken != nil {
		return false, b.broken
	}
	_, ok, err := b.criteria.Match(ctx, r, eq)
	return ok, err
}

// evaluationTimeout is how long the evaluation of one policy may take, whatever it costs.
// Upstream's budgets allow for several seconds.
const evaluationTimeout = 500 * time.Millisecond

// evaluate evaluates a policy on one input.
func (p *policy) evaluate(ctx context.Context, in *cel.Input) ([]decision, []annotation) {
	ctx, cancel := context.WithTimeout(ctx, evaluationTimeout)
	defer cancel()
	failed := func(err error) ([]decision, []annotation) {
		return []decision{p.failure(err.Error())}, nil
	}
	v := p.compiledValidations()
	if v.broken != nil {
		return failed(v.broken)
	}
	matches, _, err := v.conditions.Match(ctx, in)
	if err != nil {
		if p.ignore {
			return nil, nil
		}
		return failed(err)
	}
	if !matches {
		return nil, nil
	}
	results, budget, err := in.Evaluate(ctx, v.expressions, celconfig.RuntimeCELCostBudget)
	if err != nil {
		return failed(err)
	}
	unauthorized := *in
	unauthorized.Authorizer = nil
	messages, _, messagesErr := unauthorized.Evaluate(ctx, v.messages, budget)
	decisions := make([]decision, len(results))
	for i, result := range results {
		switch {
		case result.Error != nil:
			decisions[i] = p.failure(result.Error.Error())
		case errors.Is(messagesErr, apiservercel.ErrInternal) || errors.Is(messagesErr, apiservercel.ErrOutOfBudget):
			decisions[i] = p.failure(fmt.Sprintf("failed messageExpression: %s", messagesErr))
		case result.EvalResult != types.True:
			decisions[i] = decision{denied: true, reason: metav1.StatusReasonInvalid, message: messageOf(&p.validating.Validations[i], messages, i)}
			if r := p.validating.Validations[i].Reason; r != nil {
				decisions[i].reason = *r
			}
		}
		decisions[i].elapsed = result.Elapsed
	}
	values, err := p.annotations(ctx, in, v)
	if err != nil {
		return failed(err)
	}
	return decisions, values
}

// failure is the decision where an expression can't be evaluated.
func (p *policy) failure(message string) decision {
	return decision{denied: !p.ignore, failed: true, message: message}
}

// messageOf is the message about a validation that has failed: what its messageExpression
// evaluates to, if that is one line of bearable length, or its message, or the expression.
func messageOf(v *admissionregistrationv1.Validation, messages []plugincel.EvaluationResult, i int) string {
	if i < len(messages) && messages[i].Error == nil && messages[i].EvalResult != nil {
		if text, ok := messages[i].EvalResult.Value().(string); ok {
			text = strings.TrimSpace(text)
			if text != "" && len(text) <= celconfig.MaxEvaluatedMessageExpressionSizeBytes && !strings.Contains(text, "\n") {
				return text
			}
		}
	}
	if text := strings.TrimSpace(v.Message); text != "" {
		return text
	}
	return "failed expression: " + strings.TrimSpace(v.Expression)
}

// maxAnnotation is the length of the longest value of an audit annotation.
const maxAnnotation = 10 * 1024

func (p *policy) annotations(ctx context.Context, in *cel.Input, v *validations) ([]annotation, error) {
	if len(p.validating.AuditAnnotations) == 0 {
		return nil, nil
	}
	results, _, err := in.Evaluate(ctx, v.annotate, celconfig.RuntimeCELCostBudget)
	if err != nil {
		return nil, err
	}
	var out []annotation
	for i, result := range results {
		a := annotation{key: p.validating.AuditAnnotations[i].Key}
		switch {
		case result.Error != nil:
			if p.ignore {
				continue
			}
			a.failure = &decision{denied: true, failed: true, message: result.Error.Error(), elapsed: result.Elapsed}
		case result.EvalResult.Type() == types.StringType:
			text, _ := result.EvalResult.Value().(string)
			if a.value = strings.TrimSpace(text); a.value == "" {
				continue
			}
			a.value = a.value[:min(len(a.value), maxAnnotation)]
		case result.EvalResult.Type() == types.NullType:
			continue
		default:
			a.failure = &decision{denied: true, failed: true, elapsed: result.Elapsed, message: fmt.Sprintf(
				"valueExpression '%v' resulted in unsupported return type: %v. Return type must be either string or null.",
				p.validating.AuditAnnotations[i].ValueExpression, result.EvalResult.Type())}
		}
		out = append(out, a)
	}
	return out, nil
}
