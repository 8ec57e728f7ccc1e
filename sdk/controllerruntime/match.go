package controllerruntime

import (
	"context"
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/pintle-dev/pintle/sdk/admission"
	"github.com/pintle-dev/pintle/sdk/resource"
)

var namespaces = schema.GroupResource{Resource: "namespaces"}

// concerns reports whether a webhook is about a request. The host has asked the plugin because
// one of them is.
func (h *hook) concerns(ctx context.Context, r *resource.Request) (bool, error) {
	for i := range h.rules {
		ok, err := matches(ctx, &h.rules[i], r)
		if ok || err != nil {
			return ok, err
		}
	}
	return false, nil
}

func matches(ctx context.Context, rule *admission.Rule, r *resource.Request) (bool, error) {
	namespaced := r.Namespace != "" && r.Resource.GroupResource() != namespaces
	switch {
	case !oneOf(rule.APIGroups, r.Resource.Group),
		len(rule.APIVersions) > 0 && !oneOf(rule.APIVersions, r.Resource.Version),
		!slices.ContainsFunc(rule.Resources, func(s string) bool { return isResource(s, r.Resource.Resource, r.Subresource) }),
		!slices.Contains(rule.Operations, r.Operation) && !slices.Contains(rule.Operations, admission.AllOperations),
		rule.Scope == admission.NamespacedScope && !namespaced,
		rule.Scope == admission.ClusterScope && namespaced:
		return false, nil
	}
	if ok, err := selects(rule.ObjectSelector, labelsOf(r.Object), labelsOf(r.Old)); !ok || err != nil {
		return ok, err
	}
	if rule.NamespaceSelector == nil || r.Namespace == "" || r.Reader == nil {
		return true, nil
	}
	ns, err := r.Reader.Get(ctx, namespaces, "", r.Namespace)
	if err != nil {
		return false, fmt.Errorf("namespace %s: %w", r.Namespace, err)
	}
	return selects(rule.NamespaceSelector, labelsOf(ns))
}

func oneOf(list []string, s string) bool {
	return slices.Contains(list, "*") || slices.Contains(list, s)
}

// isResource reports whether a resource in a rule stands for that of a request.
func isResource(rule, resource, sub string) bool {
	name := resource
	all := []string{"*/*"}
	if sub == "" {
		all = append(all, "*")
	} else {
		name += "/" + sub
		all = append(all, resource+"/*", "*/"+sub)
	}
	return rule == name || slices.Contains(all, rule)
}

// selects reports whether a selector selects any of the sets of labels.
func selects(s *metav1.LabelSelector, sets ...labels.Set) (bool, error) {
	if s == nil {
		return true, nil
	}
	selector, err := metav1.LabelSelectorAsSelector(s)
	if err != nil {
		return false, fmt.Errorf("selector: %w", err)
	}
	return slices.ContainsFunc(sets, func(set labels.Set) bool { return set != nil && selector.Matches(set) }), nil
}

// labelsOf an object; nil where there is none.
func labelsOf(tree map[string]any) labels.Set {
	if tree == nil {
		return nil
	}
	found, _, _ := unstructured.NestedStringMap(tree, "metadata", "labels")
	if found == nil {
		found = map[string]string{}
	}
	return found
}
