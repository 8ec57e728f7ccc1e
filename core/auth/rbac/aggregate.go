package rbac

import (
	"fmt"
	"maps"
	"reflect"
	"slices"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// aggregate is the aggregation rule of a cluster role: its rules are those of all cluster
// roles that one of the selectors selects.
type aggregate struct{ selectors []labels.Selector }

func parseAggregate(rule *rbacv1.AggregationRule) (*aggregate, error) {
	a := &aggregate{}
	for i := range rule.ClusterRoleSelectors {
		s, err := metav1.LabelSelectorAsSelector(&rule.ClusterRoleSelectors[i])
		if err != nil {
			return nil, fmt.Errorf("aggregationRule.clusterRoleSelectors[%d]: %w", i, err)
		}
		a.selectors = append(a.selectors, s)
	}
	return a, nil
}

func (a *aggregate) selects(r *role) bool {
	return slices.ContainsFunc(a.selectors, func(s labels.Selector) bool { return s.Matches(labels.Set(r.labels)) })
}

// selected reports whether a role is part of an aggregated one.
func (x *index) selected(r *role) bool {
	if r == nil {
		return false
	}
	for _, a := range x.aggregated {
		if a.selects(r) {
			return true
		}
	}
	return false
}

// aggregateAll works out all aggregated roles anew. There are few of them, and only
// changes to roles that take part lead here.
func (x *index) aggregateAll() {
	if len(x.aggregated) == 0 {
		return
	}
	names := make([]string, 0, len(x.roles))
	for name := range x.roles {
		if name.namespace == "" {
			names = append(names, name.name)
		}
	}
	slices.Sort(names)
	for name := range x.aggregated {
		x.slot(scopedName{"", name}).rules = compile(x.gather(name, names, map[string]bool{}))
	}
}

// gather returns the rules of an aggregated role. Aggregated roles may select others of
// their sort, even each other; visited keeps that finite.
func (x *index) gather(name string, names []string, visited map[string]bool) []rbacv1.PolicyRule {
	visited[name] = true
	var rules []rbacv1.PolicyRule
	a := x.aggregated[name]
	for _, n := range names {
		r := x.roles[scopedName{"", n}]
		if visited[n] || !a.selects(r) {
			continue
		}
		part := r.rules
		if x.aggregated[n] != nil {
			part = x.gather(n, names, visited)
		}
		visited[n] = true
		for i := range part {
			if !slices.ContainsFunc(rules, func(r rbacv1.PolicyRule) bool { return reflect.DeepEqual(r, part[i]) }) {
				rules = append(rules, part[i])
			}
		}
	}
	return rules
}

// stale returns the aggregated roles whose stored rules are not the ones worked out.
func (x *index) stale() map[string][]rbacv1.PolicyRule {
	x.mu.RLock()
	defer x.mu.RUnlock()
	out := map[string][]rbacv1.PolicyRule{}
	for _, name := range slices.Sorted(maps.Keys(x.aggregated)) {
		key := scopedName{"", name}
		want := x.slots[key].rules.source
		if have := x.roles[key].rules; len(have) != len(want) || len(want) > 0 && !reflect.DeepEqual(have, want) {
			out[name] = want
		}
	}
	return out
}
