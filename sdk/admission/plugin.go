package admission

import (
	"errors"
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pintle-dev/pintle/sdk/plugin"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// Admission is a plugin that takes part in admission. It is a [Mutator], a [Validator] or
// both, too; their methods may be called at the same time.
type Admission interface {
	plugin.Plugin
	// Declare says what the plugin is asked about, and how. It is called after Configure and
	// must not block.
	Declare() Declaration
}

// Declaration says what a plugin is asked about, and how.
type Declaration struct {
	// Rules name the requests that it is asked about: those that match one of them.
	Rules []Rule
	// FailurePolicy says what becomes of a request about which the plugin could not be
	// asked. Fail where empty. The operator may say otherwise.
	FailurePolicy FailurePolicy
	// SideEffects says whether it does more than to answer. None where empty.
	SideEffects SideEffects
	// Timeout is how long a call may take, at most 30 s. Zero leaves it to the host, which
	// takes 5 s. The operator may say otherwise.
	Timeout time.Duration
	// Reinvoke asks for a second call of Mutate, with Request.Round 1, where others have
	// changed the object after the first.
	Reinvoke bool
}

// Rule is a set of requests. "*" in a list stands for any.
type Rule struct {
	// APIGroups, such as "apps"; "" is the core group.
	APIGroups []string
	// APIVersions of the groups; none stands for any. A request for another version of the
	// same objects matches, too, and is converted to the one that the rule names.
	APIVersions []string
	// Resources by their plural: "pods", "pods/status", "pods/*", "*/scale", "*" (no
	// subresources), "*/*".
	Resources []string
	// Operations; none stands for Create and Update.
	Operations []resource.Operation
	// Scope; AllScopes where empty.
	Scope Scope
	// NamespaceSelector selects by the labels of the object's namespace, or of the namespace
	// that is written; objects of the cluster match. nil selects everything.
	NamespaceSelector *metav1.LabelSelector
	// ObjectSelector selects by the object's labels, as it is or as it was. nil selects
	// everything. Who writes an object chooses its labels, so it is no means of security.
	ObjectSelector *metav1.LabelSelector
}

// AllOperations in a rule stands for any.
const AllOperations resource.Operation = "*"

// Scope of the resources in a rule.
type Scope string

// The scopes. Namespaces themselves are of the cluster.
const (
	AllScopes       Scope = "*"
	NamespacedScope Scope = "Namespaced"
	ClusterScope    Scope = "Cluster"
)

// FailurePolicy says what becomes of a request about which a plugin could not be asked.
type FailurePolicy string

// The failure policies.
const (
	// Fail refuses the request.
	Fail FailurePolicy = "Fail"
	// Ignore goes on without the plugin, and notes that in the audit log.
	Ignore FailurePolicy = "Ignore"
)

// SideEffects says whether a call does more than to answer.
type SideEffects string

// The classes of side effects.
const (
	NoSideEffects SideEffects = "None"
	// NoneOnDryRun says that the plugin looks at Request.DryRun and does nothing then.
	NoneOnDryRun SideEffects = "NoneOnDryRun"
	// SomeSideEffects says that it always does something: a dry run that it would be
	// asked about is refused.
	SomeSideEffects SideEffects = "Some"
)

// Limits of a declaration.
const (
	DefaultTimeout = 5 * time.Second
	MaxTimeout     = 30 * time.Second
	maxRules       = 100
)

// Complete fills in what a declaration leaves out, and says what is wrong with it, by the
// path of the field.
func (d *Declaration) Complete() error {
	if len(d.Rules) == 0 {
		return errors.New("rules: at least one is needed: a plugin without rules is never asked")
	}
	if len(d.Rules) > maxRules {
		return fmt.Errorf("rules: %d are more than %d", len(d.Rules), maxRules)
	}
	d.Rules = slices.Clone(d.Rules)
	for i := range d.Rules {
		if err := d.Rules[i].complete(); err != nil {
			return fmt.Errorf("rules[%d].%w", i, err)
		}
	}
	if d.FailurePolicy == "" {
		d.FailurePolicy = Fail
	}
	if d.SideEffects == "" {
		d.SideEffects = NoSideEffects
	}
	if d.Timeout == 0 {
		d.Timeout = DefaultTimeout
	}
	switch {
	case d.FailurePolicy != Fail && d.FailurePolicy != Ignore:
		return fmt.Errorf("failurePolicy: %q is neither Fail nor Ignore", d.FailurePolicy)
	case !slices.Contains([]SideEffects{NoSideEffects, NoneOnDryRun, SomeSideEffects}, d.SideEffects):
		return fmt.Errorf("sideEffects: %q is none of None, NoneOnDryRun and Some", d.SideEffects)
	case d.Timeout < 0 || d.Timeout > MaxTimeout:
		return fmt.Errorf("timeout: %s is not between 0 and %s", d.Timeout, MaxTimeout)
	}
	return nil
}

func (r *Rule) complete() error {
	if len(r.APIVersions) == 0 {
		r.APIVersions = []string{"*"}
	}
	if len(r.Operations) == 0 {
		r.Operations = []resource.Operation{resource.Create, resource.Update}
	}
	if r.Scope == "" {
		r.Scope = AllScopes
	}
	switch {
	case len(r.APIGroups) == 0:
		return errors.New(`apiGroups: at least one is needed ("" is the core group)`)
	case len(r.Resources) == 0:
		return errors.New("resources: at least one is needed")
	case r.Scope != AllScopes && r.Scope != NamespacedScope && r.Scope != ClusterScope:
		return fmt.Errorf("scope: %q is none of *, Namespaced and Cluster", r.Scope)
	}
	known := []resource.Operation{AllOperations, resource.Create, resource.Update, resource.Delete, resource.Connect}
	for _, op := range r.Operations {
		if !slices.Contains(known, op) {
			return fmt.Errorf("operations: %q is none of %q", op, known)
		}
	}
	for _, s := range []struct {
		name string
		sel  *metav1.LabelSelector
	}{{"namespaceSelector", r.NamespaceSelector}, {"objectSelector", r.ObjectSelector}} {
		if _, err := metav1.LabelSelectorAsSelector(s.sel); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	return nil
}
