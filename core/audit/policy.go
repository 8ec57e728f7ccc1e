package audit

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/sets"
	internal "k8s.io/apiserver/pkg/apis/audit"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
	"k8s.io/apiserver/pkg/apis/audit/validation"
	"sigs.k8s.io/yaml"

	"github.com/pintle-dev/pintle/core/auth"
)

// Policy says what is recorded of which requests.
type Policy struct{ rules []rule }

// rule is one of the policy, with what it inherits.
type rule struct {
	auditv1.PolicyRule
	decision
}

// decision is what a rule says of the requests that match it.
type decision struct {
	level auditv1.Level
	omit  []auditv1.Stage
	// omitManagedFields of the objects in events.
	omitManagedFields bool
}

// LoadPolicy reads a policy from a file. Unknown and doubled fields are errors, as are an
// unknown version and a policy without rules.
func LoadPolicy(file string) (*Policy, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("audit policy: %w", err)
	}
	p, err := ParsePolicy(data)
	if err != nil {
		return nil, fmt.Errorf("audit policy %s: %w", file, err)
	}
	return p, nil
}

// ParsePolicy is LoadPolicy of a file's content.
func ParsePolicy(data []byte) (*Policy, error) {
	var in auditv1.Policy
	if err := yaml.UnmarshalStrict(data, &in); err != nil {
		return nil, err
	}
	if gv := auditv1.SchemeGroupVersion.String(); in.APIVersion != gv || in.Kind != "Policy" {
		return nil, fmt.Errorf("apiVersion %q, kind %q: expected %s, Policy", in.APIVersion, in.Kind, gv)
	}
	if len(in.Rules) == 0 {
		return nil, fmt.Errorf("loaded illegal policy with 0 rules")
	}
	var checked internal.Policy
	if err := auditv1.Convert_v1_Policy_To_audit_Policy(&in, &checked, nil); err != nil {
		return nil, err
	}
	if errs := validation.ValidatePolicy(&checked); len(errs) > 0 {
		return nil, errs.ToAggregate()
	}
	p := &Policy{}
	for _, r := range in.Rules {
		d := decision{level: r.Level, omitManagedFields: in.OmitManagedFields}
		d.omit = sets.List(sets.New(in.OmitStages...).Insert(r.OmitStages...))
		if r.OmitManagedFields != nil {
			d.omitManagedFields = *r.OmitManagedFields
		}
		p.rules = append(p.rules, rule{r, d})
	}
	return p, nil
}

// of returns the decision about a request: the first rule that matches makes it. Where none
// does, nothing is recorded.
func (p *Policy) of(a *auth.Attributes) decision {
	for i := range p.rules {
		if p.rules[i].matches(a) {
			return p.rules[i].decision
		}
	}
	return decision{level: auditv1.LevelNone}
}

func (r *rule) matches(a *auth.Attributes) bool {
	if len(r.Users) > 0 && !slices.Contains(r.Users, a.User.Name) {
		return false
	}
	if len(r.UserGroups) > 0 && !slices.ContainsFunc(a.User.Groups, func(g string) bool { return slices.Contains(r.UserGroups, g) }) {
		return false
	}
	if len(r.Verbs) > 0 && !slices.Contains(r.Verbs, a.Verb) {
		return false
	}
	switch {
	case len(r.Namespaces) > 0 || len(r.Resources) > 0:
		return a.Resource != "" && r.matchesResource(a)
	case len(r.NonResourceURLs) > 0:
		return a.Resource == "" && slices.ContainsFunc(r.NonResourceURLs, func(u string) bool { return pathMatches(u, a.Path) })
	}
	return true
}

func pathMatches(pattern, path string) bool {
	if pattern == "*" || pattern == path {
		return true
	}
	return strings.HasSuffix(pattern, "*") && strings.HasPrefix(path, strings.TrimRight(pattern, "*"))
}

func (r *rule) matchesResource(a *auth.Attributes) bool {
	if len(r.Namespaces) > 0 && !slices.Contains(r.Namespaces, a.Namespace) {
		return false
	}
	if len(r.Resources) == 0 {
		return true
	}
	for _, gr := range r.Resources {
		if gr.Group != a.Group && gr.Group != "*" {
			continue
		}
		if len(gr.Resources) == 0 {
			return true
		}
		if len(gr.ResourceNames) > 0 && !slices.Contains(gr.ResourceNames, a.Name) {
			continue
		}
		if slices.ContainsFunc(gr.Resources, func(pattern string) bool { return resourceMatches(pattern, a) }) {
			return true
		}
	}
	return false
}

// resourceMatches knows "pods", "pods/log", "pods/*", "*/log" and "*". The first is about
// the objects themselves only.
func resourceMatches(pattern string, a *auth.Attributes) bool {
	if pattern == "*" {
		return true
	}
	res, sub, both := strings.Cut(pattern, "/")
	if !both {
		return pattern == a.Resource && a.Subresource == ""
	}
	switch {
	case sub == "*":
		return res == a.Resource
	case res == "*":
		return sub == a.Subresource
	}
	return res == a.Resource && sub == a.Subresource
}
