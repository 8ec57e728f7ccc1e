package policy

import (
	"context"
	"fmt"
	"maps"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/admission/plugin/policy/mutating/patch"
	celconfig "k8s.io/apiserver/pkg/apis/cel"

	"github.com/pintle-dev/pintle/core/admission/cel"
	"github.com/pintle-dev/pintle/core/admission/match"
	"github.com/pintle-dev/pintle/crd/registry"
	crdschema "github.com/pintle-dev/pintle/crd/schema"
	"github.com/pintle-dev/pintle/sdk/admission"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// mutations are a compiled MutatingAdmissionPolicy.
type mutations struct {
	broken     error
	compiler   *cel.Compiler
	conditions *cel.Conditions
	patchers   []patch.Patcher
}

func (p *policy) compiledMutations() *mutations {
	p.once.Do(func() {
		m := &mutations{}
		p.mutates = m
		if m.compiler, m.broken = p.compiler(); m.broken != nil {
			return
		}
		m.conditions = m.compiler.Conditions(p.conditions, p.declared(), cel.StoredExpressions)
		declared := p.declared()
		declared.HasPatchTypes = true
		for _, one := range p.mutating.Mutations {
			switch {
			case one.PatchType == admissionregistrationv1.PatchTypeJSONPatch && one.JSONPatch != nil:
				m.patchers = append(m.patchers, jsonPatcher{m.compiler.Mutation(jsonPatch(one.JSONPatch.Expression), declared, cel.StoredExpressions)})
			case one.PatchType == admissionregistrationv1.PatchTypeApplyConfiguration && one.ApplyConfiguration != nil:
				m.patchers = append(m.patchers, patch.NewApplyConfigurationPatcher(
					m.compiler.Mutation(applyConfiguration(one.ApplyConfiguration.Expression), declared, cel.StoredExpressions)))
			}
		}
	})
	return p.mutates
}

// Mutate implements admission.Mutator.
func (m mutator) Mutate(ctx context.Context, r *admission.Request) (bool, error) {
	// There is nothing to change of what is deleted.
	if r.Operation == resource.Delete {
		return false, nil
	}
	rules, err := m.mutating.current(ctx, r)
	if err != nil || len(rules) == 0 {
		return false, err
	}
	pass := &pass{Policies: m.Policies, request: r, memory: memoryOf(r)}
	for _, rule := range rules {
		pass.collect(ctx, rule)
	}
	pass.memory.begin(r)
	for i := range pass.invocations {
		if err := pass.invoke(ctx, &pass.invocations[i]); err != nil {
			return false, err
		}
	}
	pass.memory.end(r, pass.changed)
	return pass.changed, pass.refuse()
}

// Reinvokes implements admission.Reinvoker: whatever a policy changes, others may have to
// follow.
func (mutator) Reinvokes() bool { return true }

// pass is one request on its way through the mutating policies.
type pass struct {
	*Policies
	inputs
	memory      *memory
	request     *admission.Request
	invocations []invocation
	refusals    []mutationRefusal
	changed     bool
}

// invocation is a policy that is evaluated for one binding and parameter.
type invocation struct {
	policy  *policy
	binding *binding
	target  match.Target
	param   map[string]any
}

// mutationRefusal says why a policy refuses a request.
type mutationRefusal struct {
	message string
	reason  metav1.StatusReason
}

func (s *pass) failed(p *policy, b *binding, reason metav1.StatusReason, err error) {
	switch {
	case p.ignore:
	case b == nil:
		s.refusals = append(s.refusals, mutationRefusal{fmt.Sprintf("policy %q denied request: %s", p.name, err), reason})
	default:
		s.refusals = append(s.refusals, mutationRefusal{fmt.Sprintf("policy '%s' with binding '%s' denied request: %s", p.name, b.name, err), reason})
	}
}

// collect finds what is to be evaluated of one policy. All of it is found before anything
// is changed.
func (s *pass) collect(ctx context.Context, rule *rule) {
	misconfigured := func(b *binding, err error) {
		what := "policy"
		if b != nil {
			what = "binding"
		}
		s.failed(rule.policy, b, "", fmt.Errorf("failed to configure %s: %w", what, err))
	}
	target, ok, err := rule.match(ctx, s.request, s.equivalents)
	if err != nil {
		misconfigured(nil, err)
		return
	}
	if !ok {
		return
	}
	paramType, err := s.paramType(rule.paramKind)
	if err != nil {
		misconfigured(nil, err)
		return
	}
	for _, b := range rule.bindings {
		ok, err := b.match(ctx, s.request, s.equivalents)
		if err != nil {
			misconfigured(b, err)
		}
		if err != nil || !ok {
			continue
		}
		list, err := params(ctx, s.request, paramType, b)
		if err != nil {
			misconfigured(b, err)
			continue
		}
		for _, param := range list {
			s.invocations = append(s.invocations, invocation{rule.policy, b, target, param})
		}
	}
}

// invoke evaluates one invocation and changes the request's object. An error ends the
// request whatever the failure policy.
func (s *pass) invoke(ctx context.Context, i *invocation) error {
	m := i.policy.compiledMutations()
	if m.broken != nil {
		s.failed(i.policy, i.binding, metav1.StatusReasonInvalid, m.broken)
		return nil
	}
	in, err := s.input(ctx, s.Policies, s.request, i.target, i.param)
	if err != nil {
		if isStatus(err) {
			return err
		}
		s.failed(i.policy, nil, "", fmt.Errorf("failed to configure policy: %w", err))
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, evaluationTimeout)
	defer cancel()
	ctx = m.compiler.Context(ctx)
	matches, _, err := m.conditions.Match(ctx, in)
	if err != nil {
		s.failed(i.policy, i.binding, metav1.StatusReasonInvalid, err)
	}
	if err != nil || !matches || in.Attributes.VersionedObject == nil || s.request.Round > 0 && !s.memory.again[i.key()] {
		return nil
	}
	defer func() {
		if i.policy.mutating.ReinvocationPolicy == admissionregistrationv1.IfNeededReinvocationPolicy {
			s.memory.invoked[i.key()] = true
		}
	}()
	before := in.Attributes.VersionedObject
	for _, patcher := range m.patchers {
		started := time.Now()
		changed, err := s.patch(ctx, patcher, in, &i.target)
		s.metrics.mutation(i.policy.name, i.binding.name, time.Since(started), err)
		switch {
		case err == nil:
			in.Attributes.VersionedObject = changed
		case isStatus(err):
			return err
		default:
			s.failed(i.policy, i.binding, metav1.StatusReasonInvalid, err)
		}
	}
	if apiequality.Semantic.DeepEqual(before, in.Attributes.VersionedObject) {
		return nil
	}
	return s.take(i, in.Attributes.VersionedObject)
}

// patch evaluates one mutation and returns the changed object, with its defaults.
func (s *pass) patch(ctx context.Context, patcher patch.Patcher, in *cel.Input, target *match.Target) (runtime.Object, error) {
	kind := in.Attributes.VersionedKind
	t, ok := s.registry.LookupKind(kind)
	if !ok {
		return nil, apierrors.NewServiceUnavailable(fmt.Sprintf("Resource kind %s not found. There can be a delay between when CustomResourceDefinitions are created and when they are available.", kind))
	}
	compiled, err := t.Compiled()
	if err != nil {
		return nil, apierrors.NewInternalError(err)
	}
	types, err := compiled.Typed()
	if err != nil {
		return nil, apierrors.NewInternalError(fmt.Errorf("merge types of %s: %w", kind, err))
	}
	object, err := patcher.Patch(ctx, patch.Request{
		MatchedResource: in.Resource, VersionedAttributes: in.Attributes,
		OptionalVariables: in.Bindings(), Namespace: in.Namespace, TypeConverter: converter{types},
	}, celconfig.RuntimeCELCostBudget)
	if err != nil {
		return nil, err
	}
	changed, ok := object.(*unstructured.Unstructured)
	if !ok {
		return nil, apierrors.NewInternalError(fmt.Errorf("a mutation of %s made a %T", kind, object))
	}
	// A patch that changes nothing returns what it was given, which is left alone.
	if object == in.Attributes.VersionedObject {
		return object, nil
	}
	if t.Definition.Source == registry.BuiltinSource {
		if err := decode(compiled, changed.Object); err != nil {
			return nil, err
		}
	}
	if target.Kind != s.request.Kind {
		compiled.Default(changed.Object)
	} else if err := s.request.Decode(ctx, changed.Object); err != nil {
		return nil, err
	}
	return changed, nil
}

// decode refuses what could not be decoded into a built-in type.
func decode(compiled *crdschema.Compiled, tree map[string]any) error {
	unknown, err := compiled.Normalize(tree)
	if err == nil && len(unknown) > 0 {
		errs := make([]error, len(unknown))
		for i, path := range unknown {
			errs[i] = fmt.Errorf("unknown field %q", path)
		}
		err = runtime.NewStrictDecodingError(errs)
	}
	if err != nil {
		return apierrors.NewInternalError(err)
	}
	return nil
}

// take makes a changed object the one of the request.
func (s *pass) take(i *invocation, object runtime.Object) error {
	changed, ok := object.(*unstructured.Unstructured)
	if !ok {
		return apierrors.NewInternalError(fmt.Errorf("a mutation of %s made a %T", i.target.Kind, object))
	}
	tree := changed.Object
	if i.target.Kind != s.request.Kind {
		var err error
		if tree, err = s.request.Convert(tree, s.request.Kind); err != nil {
			return apierrors.NewInternalError(fmt.Errorf("failed to convert object: %w", err))
		}
	}
	clear(s.request.Object)
	maps.Copy(s.request.Object, tree)
	s.changed = true
	s.memory.changed()
	return nil
}

// refuse refuses the request where a policy has failed.
func (s *pass) refuse() error {
	if len(s.refusals) == 0 {
		return nil
	}
	status, err := refused(s.request, "admission request denied by policy")
	if err != nil {
		return err
	}
	status.ErrStatus.Message = s.refusals[0].message
	if reason := s.refusals[0].reason; reason != "" {
		status.ErrStatus.Reason = reason
	}
	for _, r := range s.refusals {
		status.ErrStatus.Details.Causes = append(status.ErrStatus.Details.Causes, metav1.StatusCause{Message: r.message})
	}
	return status
}
