package rbac

import (
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
)

const all = "*"

// ruleSet is the rules of a role, arranged by resource so that a decision looks at the few
// rules that can match.
type ruleSet struct {
	source []rbacv1.PolicyRule
	// resources: "pods", "pods/log", "*/log" or "*".
	resources map[string][]rule
	urls      []rule
}

// rule is a PolicyRule, its resources aside.
type rule struct {
	verbs, groups, names, urls []string
}

func compile(rules []rbacv1.PolicyRule) *ruleSet {
	s := &ruleSet{source: rules, resources: map[string][]rule{}}
	for i := range rules {
		r := rule{rules[i].Verbs, rules[i].APIGroups, rules[i].ResourceNames, rules[i].NonResourceURLs}
		for j, name := range rules[i].Resources {
			if !slices.Contains(rules[i].Resources[:j], name) {
				s.resources[name] = append(s.resources[name], r)
			}
		}
		if len(r.urls) > 0 {
			s.urls = append(s.urls, r)
		}
	}
	return s
}

// query is a request in the form that rules are matched with.
type query struct {
	verb, group, name string
	// resource is "pods" or "pods/log"; anySub is "*/log" for a subresource, else "".
	resource, anySub string
	path             string // of a non-resource request; resource is empty then
}

func (s *ruleSet) allows(q *query) bool {
	if q.resource == "" {
		for i := range s.urls {
			if s.urls[i].allowsPath(q) {
				return true
			}
		}
		return false
	}
	return anyAllows(s.resources[q.resource], q) ||
		anyAllows(s.resources[all], q) ||
		q.anySub != "" && anyAllows(s.resources[q.anySub], q)
}

func anyAllows(rules []rule, q *query) bool {
	for i := range rules {
		r := &rules[i]
		if has(r.verbs, q.verb) && has(r.groups, q.group) && (len(r.names) == 0 || slices.Contains(r.names, q.name)) {
			return true
		}
	}
	return false
}

func (r *rule) allowsPath(q *query) bool {
	if !has(r.verbs, q.verb) {
		return false
	}
	for _, u := range r.urls {
		if u == all || u == q.path {
			return true
		}
		if prefix, ok := strings.CutSuffix(u, all); ok && strings.HasPrefix(q.path, strings.TrimRight(prefix, all)) {
			return true
		}
	}
	return false
}

func has(set []string, s string) bool {
	for _, v := range set {
		if v == s || v == all {
			return true
		}
	}
	return false
}
