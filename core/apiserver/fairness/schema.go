package fairness

import (
	"slices"
	"strings"

	flowcontrolv1 "k8s.io/api/flowcontrol/v1"

	"github.com/pintle-dev/pintle/core/auth"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// schema is a FlowSchema with the level that its requests go to.
type schema struct {
	name, uid   string
	precedence  int32
	distinguish flowcontrolv1.FlowDistinguisherMethodType // "" for none
	rules       []flowcontrolv1.PolicyRulesWithSubjects
	level       *level
	metrics     flowMetrics
}

// distinguisher tells the flows of a schema apart.
func (s *schema) distinguisher(a *auth.Attributes) string {
	switch s.distinguish {
	case flowcontrolv1.FlowDistinguisherMethodByUserType:
		return a.User.Name
	case flowcontrolv1.FlowDistinguisherMethodByNamespaceType:
		return a.Namespace
	}
	return ""
}

func (s *schema) matches(a *auth.Attributes) bool {
	for i := range s.rules {
		r := &s.rules[i]
		if subjectMatches(r.Subjects, &a.User) && (a.Resource != "" && resourceMatches(r.ResourceRules, a) ||
			a.Resource == "" && pathMatches(r.NonResourceRules, a)) {
			return true
		}
	}
	return false
}

func subjectMatches(subjects []flowcontrolv1.Subject, u *resource.User) bool {
	for i := range subjects {
		s := &subjects[i]
		switch {
		case s.Kind == flowcontrolv1.SubjectKindUser && s.User != nil:
			if s.User.Name == flowcontrolv1.NameAll || s.User.Name == u.Name {
				return true
			}
		case s.Kind == flowcontrolv1.SubjectKindGroup && s.Group != nil:
			if s.Group.Name == flowcontrolv1.NameAll || slices.Contains(u.Groups, s.Group.Name) {
				return true
			}
		case s.Kind == flowcontrolv1.SubjectKindServiceAccount && s.ServiceAccount != nil:
			rest, ok := strings.CutPrefix(u.Name, "system:serviceaccount:")
			namespace, name, _ := strings.Cut(rest, ":")
			if ok && namespace == s.ServiceAccount.Namespace &&
				(s.ServiceAccount.Name == flowcontrolv1.NameAll || s.ServiceAccount.Name == name) {
				return true
			}
		}
	}
	return false
}

func has(list []string, value string) bool {
	return len(list) > 0 && (list[0] == "*" || slices.Contains(list, value))
}

func resourceMatches(rules []flowcontrolv1.ResourcePolicyRule, a *auth.Attributes) bool {
	for i := range rules {
		r := &rules[i]
		name := a.Resource
		if a.Subresource != "" && len(r.Resources) > 0 && r.Resources[0] != flowcontrolv1.ResourceAll {
			name += "/" + a.Subresource
		}
		if has(r.Verbs, a.Verb) && has(r.APIGroups, a.Group) && has(r.Resources, name) &&
			(a.Namespace == "" && r.ClusterScope || a.Namespace != "" && has(r.Namespaces, a.Namespace)) {
			return true
		}
	}
	return false
}

func pathMatches(rules []flowcontrolv1.NonResourcePolicyRule, a *auth.Attributes) bool {
	for i := range rules {
		if !has(rules[i].Verbs, a.Verb) {
			continue
		}
		for _, url := range rules[i].NonResourceURLs {
			prefix, all := strings.CutSuffix(url, "*")
			if url == a.Path || all && strings.HasPrefix(a.Path, prefix) {
				return true
			}
		}
	}
	return false
}
