package rbac

import (
	"context"
	"log/slog"
	"slices"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/component-helpers/auth/rbac/validation"

	"github.com/pintle-dev/pintle/core/auth"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// Authorizer decides by roles and bindings.
type Authorizer struct {
	index *index
	log   *slog.Logger
	ready chan struct{}
	// changed has room for one signal: a cluster role has changed.
	changed chan struct{}
}

var _ auth.Authorizer = (*Authorizer)(nil)

// New returns an Authorizer that allows nothing until Run has read the store. A nil
// logger means slog.Default.
func New(log *slog.Logger) *Authorizer {
	if log == nil {
		log = slog.Default()
	}
	return &Authorizer{index: newIndex(), log: log, ready: make(chan struct{}), changed: make(chan struct{}, 1)}
}

// Ready is closed once Run has read all roles and bindings.
func (a *Authorizer) Ready() <-chan struct{} { return a.ready }

// Authorize implements auth.Authorizer. Requests for paths that are no resources are
// decided by cluster role bindings only.
func (a *Authorizer) Authorize(_ context.Context, at auth.Attributes) (bool, string, error) {
	if slices.Contains(at.User.Groups, auth.MastersGroup) {
		return true, "", nil
	}
	q := query{verb: at.Verb, group: at.Group, resource: at.Resource, name: at.Name, path: at.Path}
	namespace := at.Namespace
	switch {
	case at.Resource == "":
		namespace = ""
	case at.Subresource != "":
		q.resource = at.Resource + "/" + at.Subresource
		q.anySub = "*/" + at.Subresource
	}
	var reason string
	allowed := false
	a.index.visit(&at.User, namespace, func(g *grant) bool {
		if g.role.rules != nil && g.role.rules.allows(&q) {
			allowed, reason = true, g.reason
			return false
		}
		return true
	})
	if allowed {
		return true, reason, nil
	}
	return false, a.index.missing(&at.User, namespace), nil
}

// Rules returns what a user may do in a namespace, cluster-wide rules included; "" means
// these only. Members of system:masters have all rules. The rules are shared and must not
// be changed.
func (a *Authorizer) Rules(user resource.User, namespace string) []rbacv1.PolicyRule {
	var rules []rbacv1.PolicyRule
	seen := map[*ruleSet]bool{}
	a.index.visit(&user, namespace, func(g *grant) bool {
		if s := g.role.rules; s != nil && !seen[s] {
			seen[s] = true
			rules = append(rules, s.source...)
		}
		return true
	})
	if slices.Contains(user.Groups, auth.MastersGroup) {
		if ok, _ := validation.Covers(rules, everything); !ok {
			rules = append(slices.Clone(everything), rules...)
		}
	}
	return rules
}

// everything is what cluster administrators have.
var everything = []rbacv1.PolicyRule{
	{Verbs: []string{all}, APIGroups: []string{all}, Resources: []string{all}},
	{Verbs: []string{all}, NonResourceURLs: []string{all}},
}
