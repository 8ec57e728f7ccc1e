package match

import (
	"context"
	"fmt"
	"slices"
	"strings"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/pintle-dev/pintle/sdk/admission"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// Target is what a request is to those who asked for it: the resource and kind that their
// rule named, which differ from the request's where an equivalent resource was matched.
type Target struct {
	Resource    schema.GroupVersionResource
	Subresource string
	Kind        schema.GroupVersionKind
}

// Equivalents knows which resources serve the same objects.
type Equivalents interface {
	// Equivalents of a resource, or of one of its subresources, itself not included.
	Equivalents(gvr schema.GroupVersionResource, subresource string) []Target
}

// Criteria are compiled rules and selectors. They are immutable.
type Criteria struct {
	// rules name what is matched; everything, if there are none and all is set.
	rules, excluded []rule
	all             bool
	equivalent      bool
	// nil selectors select everything.
	namespaces, objects labels.Selector
}

// rule is a rule with the names that it is restricted to, if any.
type rule struct {
	admissionregistrationv1.RuleWithOperations
	names []string
}

// Webhook compiles the criteria of a webhook. A nil policy means Equivalent, nil selectors
// select everything; no rules match nothing.
func Webhook(rules []admissionregistrationv1.RuleWithOperations, policy *admissionregistrationv1.MatchPolicyType, namespaces, objects *metav1.LabelSelector) (*Criteria, error) {
	c := &Criteria{equivalent: policy == nil || *policy == admissionregistrationv1.Equivalent}
	for _, r := range rules {
		c.rules = append(c.rules, rule{RuleWithOperations: r})
	}
	return c, c.selectors(namespaces, objects)
}

// Resources compiles the criteria of a policy or a binding. A nil policy means Equivalent;
// nil resources and resources without rules match everything.
func Resources(m *admissionregistrationv1.MatchResources) (*Criteria, error) {
	if m == nil {
		return &Criteria{all: true, equivalent: true}, nil
	}
	c := &Criteria{all: len(m.ResourceRules) == 0, equivalent: m.MatchPolicy == nil || *m.MatchPolicy == admissionregistrationv1.Equivalent}
	for _, r := range m.ResourceRules {
		c.rules = append(c.rules, rule{r.RuleWithOperations, r.ResourceNames})
	}
	for _, r := range m.ExcludeResourceRules {
		c.excluded = append(c.excluded, rule{r.RuleWithOperations, r.ResourceNames})
	}
	return c, c.selectors(m.NamespaceSelector, m.ObjectSelector)
}

func (c *Criteria) selectors(namespaces, objects *metav1.LabelSelector) error {
	var err error
	if c.namespaces, err = selector(namespaces); err != nil {
		return fmt.Errorf("namespaceSelector: %w", err)
	}
	if c.objects, err = selector(objects); err != nil {
		return fmt.Errorf("objectSelector: %w", err)
	}
	return nil
}

// selector returns nil for a selector that selects everything.
func selector(s *metav1.LabelSelector) (labels.Selector, error) {
	if s == nil {
		return nil, nil
	}
	sel, err := metav1.LabelSelectorAsSelector(s)
	if err != nil {
		return nil, err //nolint:wrapcheck // the caller names the field
	}
	if sel.Empty() {
		return nil, nil
	}
	return sel, nil
}

// Match reports whether a request is matched, and as what. Errors are *errors.StatusError:
// that the request's namespace can't be read, which is not an error where nothing else
// matches.
//
// Rules are looked at before selectors, as they are cheap and turn most requests away; which
// error is reported does not depend on it.
func (c *Criteria) Match(ctx context.Context, r *admission.Request, eq Equivalents) (Target, bool, error) {
	own := Target{Resource: r.Resource, Subresource: r.Subresource, Kind: r.Kind}
	if len(c.excluded) > 0 {
		if _, excluded := c.matchRules(c.excluded, r, own, eq); excluded {
			return Target{}, false, nil
		}
	}
	target, ok := own, c.all
	if !ok {
		if target, ok = c.matchRules(c.rules, r, own, eq); !ok {
			return Target{}, false, nil
		}
	}
	if c.objects != nil && !labelled(c.objects, r.Object) && !labelled(c.objects, r.Old) {
		return Target{}, false, nil
	}
	if ok, err := c.namespaceMatches(ctx, r); !ok {
		return Target{}, false, err
	}
	return target, true, nil
}

func (c *Criteria) matchRules(rules []rule, r *admission.Request, own Target, eq Equivalents) (Target, bool) {
	for i := range rules {
		if rules[i].matches(r, r.Resource) {
			return own, true
		}
	}
	if !c.equivalent || eq == nil || !slices.ContainsFunc(rules, func(one rule) bool { return one.about(r) }) {
		return Target{}, false
	}
	others := eq.Equivalents(r.Resource, r.Subresource)
	for i := range rules {
		for _, other := range others {
			if rules[i].matches(r, other.Resource) {
				return other, true
			}
		}
	}
	return Target{}, false
}

// about reports whether all that does not depend on the resource matches.
func (one *rule) about(r *admission.Request) bool {
	return one.operation(r.Operation) && (len(one.names) == 0 || slices.Contains(one.names, r.Name))
}

func (one *rule) matches(r *admission.Request, as schema.GroupVersionResource) bool {
	return one.about(r) &&
		oneOf(one.APIGroups, as.Group) && oneOf(one.APIVersions, as.Version) &&
		one.resource(as.Resource, r.Subresource) && one.scope(r)
}

func oneOf(items []string, v string) bool {
	for _, item := range items {
		if item == "*" || item == v {
			return true
		}
	}
	return false
}

func (one *rule) operation(op resource.Operation) bool {
	for _, o := range one.Operations {
		if o == admissionregistrationv1.OperationAll || string(o) == string(op) {
			return true
		}
	}
	return false
}

func (one *rule) resource(name, subresource string) bool {
	for _, text := range one.Resources {
		res, sub, _ := strings.Cut(text, "/")
		if (res == "*" || res == name) && (sub == "*" || sub == subresource) {
			return true
		}
	}
	return false
}

func (one *rule) scope(r *admission.Request) bool {
	if one.Scope == nil {
		return true
	}
	switch *one.Scope {
	case admissionregistrationv1.AllScopes:
		return true
	case admissionregistrationv1.NamespacedScope:
		return r.Namespace != "" && r.Resource != namespaces
	case admissionregistrationv1.ClusterScope:
		return r.Namespace == "" || r.Resource == namespaces
	}
	return false
}

var namespaces = schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}

// Namespace is the namespace that a request is about: for namespaces and their subresources
// that is the namespace itself. "" for other objects of the cluster.
func Namespace(r *admission.Request) string {
	if r.Resource == namespaces {
		return r.Name
	}
	return r.Namespace
}

func (c *Criteria) namespaceMatches(ctx context.Context, r *admission.Request) (bool, error) {
	if c.namespaces == nil || r.Namespace == "" && r.Resource.Resource != namespaces.Resource {
		return true, nil
	}
	if r.Resource.Resource == namespaces.Resource && r.Subresource == "" && (r.Operation == resource.Create || r.Operation == resource.Update) {
		// The namespace as it will be, which is not the stored one.
		return c.namespaces.Matches(labelsOf(r.Object)), nil
	}
	ns, err := NamespaceObject(ctx, r)
	if err != nil {
		return false, err
	}
	return c.namespaces.Matches(labelsOf(ns)), nil
}

// NamespaceObject reads the namespace that a request is about, as it is stored; nil for
// requests about other objects of the cluster. It is shared and must not be changed. A
// namespace that does not exist is an error that apierrors.IsNotFound knows.
func NamespaceObject(ctx context.Context, r *admission.Request) (map[string]any, error) {
	name := Namespace(r)
	if name == "" {
		return nil, nil
	}
	ns, err := r.Reader.Get(ctx, namespaces.GroupResource(), "", name)
	if err != nil {
		return nil, apierrors.NewInternalError(fmt.Errorf("read namespace %q: %w", name, err))
	}
	if ns == nil {
		return nil, apierrors.NewNotFound(namespaces.GroupResource(), name)
	}
	return ns, nil
}

func labelled(sel labels.Selector, object map[string]any) bool {
	if _, ok := object["metadata"].(map[string]any); !ok {
		return false // no object, or one without metadata: the options of a byte stream
	}
	return sel.Matches(labelsOf(object))
}

func labelsOf(object map[string]any) labels.Set {
	meta, _ := object["metadata"].(map[string]any)
	tree, _ := meta["labels"].(map[string]any)
	set := make(labels.Set, len(tree))
	for k, v := range tree {
		if text, ok := v.(string); ok {
			set[k] = text
		}
	}
	return set
}

// Exempt reports whether a request is about the objects that configure admission, which
// neither webhooks nor policies are asked about: a broken one could not be repaired.
func Exempt(r *admission.Request) bool {
	if r.Kind.Group != admissionregistrationv1.GroupName {
		return false
	}
	switch r.Kind.Kind {
	case "ValidatingWebhookConfiguration", "MutatingWebhookConfiguration",
		"ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding",
		"MutatingAdmissionPolicy", "MutatingAdmissionPolicyBinding":
		return true
	}
	return false
}
