package host

import (
	"fmt"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/component-helpers/auth/rbac/validation"
)

// mayRead says why the instance's calls may not read something. A third party's plugin reads
// by its hooks what it could read by its identity, and objects of its own types.
func (i *instance) mayRead(list bool, group, resource, _, name string) error {
	if i.spec.FirstParty() {
		return nil
	}
	for _, d := range i.types {
		if d.Group == group && d.Names.Plural == resource {
			return nil
		}
	}
	verb := "get"
	rule := rbacv1.PolicyRule{APIGroups: []string{group}, Resources: []string{resource}}
	if list {
		verb = "list"
	} else if name != "" {
		rule.ResourceNames = []string{name}
	}
	rule.Verbs = []string{verb}
	if ok, _ := validation.Covers(i.snapshot().Granted, []rbacv1.PolicyRule{rule}); ok {
		return nil
	}
	i.tallies.refused.note(verb + " " + schema.GroupResource{Group: group, Resource: resource}.String())
	return fmt.Errorf("plugin %s was not granted to %s %s in API group %q", i.spec.Name, verb, resource, group)
}
