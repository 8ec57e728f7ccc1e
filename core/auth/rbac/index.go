package rbac

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	rbacv1 "k8s.io/api/rbac/v1"

	"github.com/pintle-dev/pintle/sdk/resource"
)

// scopedName is a namespace, empty for cluster-scoped objects, and a name.
type scopedName struct{ namespace, name string }

// subject that permissions are granted to.
type subject struct {
	group bool
	name  string
	// namespace the grant holds in; empty means everywhere.
	namespace string
}

// slot stands for a role by name, whether it exists or not, so that bindings need not be
// visited when a role comes, changes or goes.
type slot struct {
	name  scopedName
	rules *ruleSet // nil where the role does not exist
	uses  int      // bindings that refer to it
}

// grant is one subject's part in a binding.
type grant struct {
	role    *slot
	binding scopedName
	// reason is what the answer to a request says when the grant allows it.
	reason string
}

// index finds the grants of a user. Roles and bindings change rarely and one at a time,
// so they are changed in place under a lock that readers share.
type index struct {
	mu       sync.RWMutex
	slots    map[scopedName]*slot
	grants   map[subject][]grant
	bindings map[scopedName]*rbacv1.RoleBinding // cluster role bindings too, without namespace
	roles    map[scopedName]*role
	// aggregated roles by name, with their selectors parsed.
	aggregated map[string]*aggregate
}

// role is a role as stored.
type role struct {
	labels map[string]string
	rules  []rbacv1.PolicyRule
}

func newIndex() *index {
	return &index{
		slots: map[scopedName]*slot{}, grants: map[subject][]grant{}, bindings: map[scopedName]*rbacv1.RoleBinding{},
		roles: map[scopedName]*role{}, aggregated: map[string]*aggregate{},
	}
}

// setRole adds or changes a role; nil removes it.
func (x *index) setRole(name scopedName, r *role, rule *rbacv1.AggregationRule) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	old := x.roles[name]
	if r == nil {
		delete(x.roles, name)
	} else {
		x.roles[name] = r
	}
	if name.namespace != "" {
		x.publish(name, r)
		return nil
	}
	wasAggregated := x.aggregated[name.name] != nil
	delete(x.aggregated, name.name)
	var err error
	if r != nil && rule != nil {
		var a *aggregate
		if a, err = parseAggregate(rule); err == nil {
			x.aggregated[name.name] = a
		}
	}
	x.publish(name, r)
	if wasAggregated || x.aggregated[name.name] != nil || x.selected(old) || x.selected(r) {
		x.aggregateAll()
	}
	return err
}

// publish makes a role's own rules effective.
func (x *index) publish(name scopedName, r *role) {
	if r == nil {
		if s := x.slots[name]; s != nil {
			s.rules = nil
			x.release(s)
		}
		return
	}
	x.slot(name).rules = compile(r.rules)
}

func (x *index) slot(name scopedName) *slot {
	s := x.slots[name]
	if s == nil {
		s = &slot{name: name}
		x.slots[name] = s
	}
	return s
}

// release forgets a slot that neither a role nor a binding needs.
func (x *index) release(s *slot) {
	if s.rules == nil && s.uses == 0 {
		delete(x.slots, s.name)
	}
}

// setBinding adds or changes a binding; nil removes it.
func (x *index) setBinding(name scopedName, b *rbacv1.RoleBinding) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if old := x.bindings[name]; old != nil {
		for _, s := range subjects(name, old) {
			left := slices.DeleteFunc(slices.Clone(x.grants[s.subject]), func(g grant) bool { return g.binding == name })
			if len(left) == 0 {
				delete(x.grants, s.subject)
			} else {
				x.grants[s.subject] = left
			}
		}
		s := x.slot(roleOf(name, old))
		s.uses--
		x.release(s)
		delete(x.bindings, name)
	}
	if b == nil {
		return
	}
	x.bindings[name] = b
	role := x.slot(roleOf(name, b))
	role.uses++
	for _, s := range subjects(name, b) {
		x.grants[s.subject] = append(x.grants[s.subject], grant{role, name, reason(name, b, s.described)})
	}
}

// roleOf returns the name of the role that a binding refers to.
func roleOf(binding scopedName, b *rbacv1.RoleBinding) scopedName {
	if b.RoleRef.Kind == "Role" {
		return scopedName{binding.namespace, b.RoleRef.Name}
	}
	return scopedName{"", b.RoleRef.Name}
}

type boundSubject struct {
	subject
	described string
}

// subjects returns the subjects of a binding, each once.
func subjects(binding scopedName, b *rbacv1.RoleBinding) []boundSubject {
	out := make([]boundSubject, 0, len(b.Subjects))
	seen := make(map[subject]bool, len(b.Subjects))
	for _, s := range b.Subjects {
		bound := boundSubject{subject: subject{name: s.Name, namespace: binding.namespace}}
		switch s.Kind {
		case rbacv1.UserKind:
			bound.described = fmt.Sprintf("User %q", s.Name)
		case rbacv1.GroupKind:
			bound.group = true
			bound.described = fmt.Sprintf("Group %q", s.Name)
		case rbacv1.ServiceAccountKind:
			namespace := s.Namespace
			if namespace == "" {
				namespace = binding.namespace
			}
			if namespace == "" {
				continue // names no service account
			}
			bound.name = "system:serviceaccount:" + namespace + ":" + s.Name
			bound.described = fmt.Sprintf("ServiceAccount %q", s.Name+"/"+namespace)
		default:
			continue
		}
		if !seen[bound.subject] {
			seen[bound.subject] = true
			out = append(out, bound)
		}
	}
	return out
}

func reason(name scopedName, b *rbacv1.RoleBinding, who string) string {
	kind, id := "ClusterRoleBinding", name.name
	if name.namespace != "" {
		kind, id = "RoleBinding", name.name+"/"+name.namespace
	}
	return fmt.Sprintf("RBAC: allowed by %s %q of %s %q to %s", kind, id, b.RoleRef.Kind, b.RoleRef.Name, who)
}

// visit calls f with each grant of a user that holds in a namespace ("" means those that
// hold everywhere), until f returns false. The lock is held meanwhile.
func (x *index) visit(user *resource.User, namespace string, f func(*grant) bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	each := func(s subject) bool {
		grants := x.grants[s]
		for i := range grants {
			if !f(&grants[i]) {
				return false
			}
		}
		return true
	}
	for _, ns := range [...]string{"", namespace} {
		if !each(subject{name: user.Name, namespace: ns}) {
			return
		}
		for _, g := range user.Groups {
			if !each(subject{group: true, name: g, namespace: ns}) {
				return
			}
		}
		if namespace == "" {
			return
		}
	}
}

// ruleOf returns the effective rules of a role; false where it does not exist.
func (x *index) rulesOf(name scopedName) ([]rbacv1.PolicyRule, bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	s := x.slots[name]
	if s == nil || s.rules == nil {
		return nil, false
	}
	return s.rules.source, true
}

// names returns the names of one kind that are known, for finding those that are gone.
func (x *index) names(k kind) []scopedName {
	x.mu.RLock()
	defer x.mu.RUnlock()
	var all []scopedName
	if k.binding {
		all = slices.Collect(maps.Keys(x.bindings))
	} else {
		all = slices.Collect(maps.Keys(x.roles))
	}
	return slices.DeleteFunc(all, func(n scopedName) bool { return (n.namespace == "") != k.cluster })
}

// missing names the roles that a user's bindings refer to and that do not exist.
func (x *index) missing(user *resource.User, namespace string) string {
	var out []string
	x.visit(user, namespace, func(g *grant) bool {
		if g.role.rules == nil {
			kind := "clusterrole"
			if g.role.name.namespace != "" {
				kind = "role"
			}
			out = append(out, fmt.Sprintf("%s.%s %q not found", kind, rbacv1.GroupName, g.role.name.name))
		}
		return true
	})
	switch len(out) {
	case 0:
		return ""
	case 1:
		return "RBAC: " + out[0]
	}
	return "RBAC: [" + strings.Join(out, ", ") + "]"
}
