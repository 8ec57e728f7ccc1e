package controllerruntime

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/yaml"

	"github.com/pintle-dev/pintle/sdk/admission"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// configured is what a webhook configuration says about one of its webhooks.
type configured struct {
	name     string
	path     string
	mutating bool
	rules    []admission.Rule
}

// configurations reads what controller-gen writes from a project's +kubebuilder:webhook markers
// (config/webhook/manifests.yaml): which requests each webhook is about, and what the plugin
// declares for all of them.
func configurations(text []byte) ([]configured, admission.Declaration, error) {
	var out []configured
	d := admission.Declaration{FailurePolicy: admission.Ignore, SideEffects: admission.NoSideEffects}
	documents := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(text), 4096)
	for {
		// Both kinds have the same fields, but for a few that only one of them has.
		var c struct {
			metav1.TypeMeta `json:",inline"`
			Webhooks        []admissionregistrationv1.MutatingWebhook `json:"webhooks"`
		}
		err := documents.Decode(&c)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, d, err
		}
		if c.Kind != "MutatingWebhookConfiguration" && c.Kind != "ValidatingWebhookConfiguration" {
			continue
		}
		for i := range c.Webhooks {
			h, err := configuration(&c.Webhooks[i], &d)
			if err != nil {
				return nil, d, fmt.Errorf("webhook %s: %w", c.Webhooks[i].Name, err)
			}
			h.mutating = c.Kind == "MutatingWebhookConfiguration"
			out = append(out, h)
			d.Rules = append(d.Rules, h.rules...)
		}
	}
	if len(out) == 0 {
		return nil, d, errors.New("there is no webhook")
	}
	return out, d, nil
}

// configuration reads one webhook, and adds to the declaration what it is strictest in.
func configuration(w *admissionregistrationv1.MutatingWebhook, d *admission.Declaration) (configured, error) {
	h := configured{name: w.Name}
	service := w.ClientConfig.Service
	if service == nil || service.Path == nil {
		return h, errors.New("clientConfig.service.path is needed, by which it was registered with the manager")
	}
	h.path = *service.Path
	if len(w.MatchConditions) > 0 {
		return h, errors.New("matchConditions: a plugin has none")
	}
	if w.FailurePolicy == nil || *w.FailurePolicy == admissionregistrationv1.Fail {
		d.FailurePolicy = admission.Fail
	}
	if w.ReinvocationPolicy != nil && *w.ReinvocationPolicy == admissionregistrationv1.IfNeededReinvocationPolicy {
		d.Reinvoke = true
	}
	if w.TimeoutSeconds != nil {
		d.Timeout = max(d.Timeout, time.Duration(*w.TimeoutSeconds)*time.Second)
	}
	if w.SideEffects != nil {
		order := []admission.SideEffects{admission.NoSideEffects, admission.NoneOnDryRun, admission.SomeSideEffects}
		if s := admission.SideEffects(*w.SideEffects); slices.Index(order, s) > slices.Index(order, d.SideEffects) {
			d.SideEffects = s
		}
	}
	for _, r := range w.Rules {
		rule := admission.Rule{
			APIGroups: r.APIGroups, APIVersions: r.APIVersions, Resources: r.Resources,
			NamespaceSelector: w.NamespaceSelector, ObjectSelector: w.ObjectSelector,
		}
		for _, op := range r.Operations {
			rule.Operations = append(rule.Operations, resource.Operation(op))
		}
		if r.Scope != nil {
			rule.Scope = admission.Scope(*r.Scope)
		}
		rule.Scope = cmp.Or(rule.Scope, admission.AllScopes)
		h.rules = append(h.rules, rule)
	}
	return h, nil
}
