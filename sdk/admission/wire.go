package admission

import (
	"encoding/json"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	pluginv1 "github.com/pintle-dev/pintle/sdk/proto/plugin/v1"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// stepsOf lists what a plugin takes part in.
func stepsOf(impl Admission) []pluginv1.ReviewStep {
	var out []pluginv1.ReviewStep
	if _, ok := impl.(Mutator); ok {
		out = append(out, pluginv1.ReviewStep_REVIEW_STEP_MUTATE)
	}
	if _, ok := impl.(Validator); ok {
		out = append(out, pluginv1.ReviewStep_REVIEW_STEP_VALIDATE)
	}
	return out
}

func declarationToWire(d Declaration) (*pluginv1.DeclareResponse, error) {
	out := &pluginv1.DeclareResponse{
		FailurePolicy: string(d.FailurePolicy), SideEffects: string(d.SideEffects),
		TimeoutMs: d.Timeout.Milliseconds(), Reinvoke: d.Reinvoke,
	}
	for i, r := range d.Rules {
		w := &pluginv1.AdmissionRule{
			ApiGroups: r.APIGroups, ApiVersions: r.APIVersions, Resources: r.Resources, Scope: string(r.Scope),
		}
		for _, op := range r.Operations {
			w.Operations = append(w.Operations, string(op))
		}
		var err error
		if w.NamespaceSelector, err = selectorToWire(r.NamespaceSelector); err != nil {
			return nil, fmt.Errorf("rules[%d].namespaceSelector: %w", i, err)
		}
		if w.ObjectSelector, err = selectorToWire(r.ObjectSelector); err != nil {
			return nil, fmt.Errorf("rules[%d].objectSelector: %w", i, err)
		}
		out.Rules = append(out.Rules, w)
	}
	return out, nil
}

// DeclarationFromWire converts a declaration; it is for hosts.
func DeclarationFromWire(w *pluginv1.DeclareResponse) (Declaration, error) {
	out := Declaration{
		FailurePolicy: FailurePolicy(w.GetFailurePolicy()), SideEffects: SideEffects(w.GetSideEffects()),
		Timeout: time.Duration(w.GetTimeoutMs()) * time.Millisecond, Reinvoke: w.GetReinvoke(),
	}
	for i, r := range w.GetRules() {
		rule := Rule{
			APIGroups: r.GetApiGroups(), APIVersions: r.GetApiVersions(), Resources: r.GetResources(), Scope: Scope(r.GetScope()),
		}
		for _, op := range r.GetOperations() {
			rule.Operations = append(rule.Operations, resource.Operation(op))
		}
		var err error
		if rule.NamespaceSelector, err = selectorFromWire(r.GetNamespaceSelector()); err != nil {
			return Declaration{}, fmt.Errorf("rules[%d].namespaceSelector: %w", i, err)
		}
		if rule.ObjectSelector, err = selectorFromWire(r.GetObjectSelector()); err != nil {
			return Declaration{}, fmt.Errorf("rules[%d].objectSelector: %w", i, err)
		}
		out.Rules = append(out.Rules, rule)
	}
	return out, nil
}

func selectorToWire(s *metav1.LabelSelector) ([]byte, error) {
	if s == nil {
		return nil, nil
	}
	return json.Marshal(s)
}

func selectorFromWire(b []byte) (*metav1.LabelSelector, error) {
	if len(b) == 0 {
		return nil, nil
	}
	s := &metav1.LabelSelector{}
	return s, json.Unmarshal(b, s)
}
