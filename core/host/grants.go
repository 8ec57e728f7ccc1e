package host

import (
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/component-helpers/auth/rbac/validation"
)

// granted are the permissions that a plugin gets of those that it asks for, and those that
// nobody has granted yet.
func (s *Spec) granted(requested []policyRule) (granted, pending []policyRule) {
	if s.FirstParty() || s.Grant {
		return requested, nil
	}
	for _, rule := range requested {
		if ok, _ := validation.Covers(s.Permissions, []policyRule{rule}); ok {
			granted = append(granted, rule)
			continue
		}
		for _, part := range validation.BreakdownRule(rule) {
			if ok, _ := validation.Covers(s.Permissions, []policyRule{part}); ok {
				granted = append(granted, part)
			} else {
				pending = append(pending, part)
			}
		}
	}
	return granted, pending
}

// beyond are the parts of rules that allowed does not cover.
func beyond(rules, allowed []policyRule) []policyRule {
	_, missing := validation.Covers(allowed, rules)
	return missing
}

// union are all rules of both lists.
func union(a, b []policyRule) []policyRule {
	out := append([]policyRule(nil), a...)
	return append(out, beyond(b, a)...)
}

// RulesText is a list of rules on one line.
func RulesText(rules []rbacv1.PolicyRule) string {
	texts := make([]string, 0, len(rules))
	for _, r := range rules {
		texts = append(texts, ruleText(r))
	}
	return strings.Join(texts, "; ")
}

func ruleText(r rbacv1.PolicyRule) string {
	if len(r.NonResourceURLs) > 0 {
		return strings.Join(r.Verbs, ",") + " " + strings.Join(r.NonResourceURLs, ",")
	}
	groups := make([]string, len(r.APIGroups))
	for i, g := range r.APIGroups {
		if groups[i] = g; g == "" {
			groups[i] = "core"
		}
	}
	text := strings.Join(r.Verbs, ",") + " " + strings.Join(r.Resources, ",") + " (" + strings.Join(groups, ",") + ")"
	if len(r.ResourceNames) > 0 {
		text += " named " + strings.Join(r.ResourceNames, ",")
	}
	return text
}
