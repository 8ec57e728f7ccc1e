package main

import (
	"context"
	"fmt"
	"slices"

	"github.com/pintle-dev/pintle/sdk/authorization"
)

// Authorize implements authorization.Authorizer. NoOpinion leaves a request to others, such as
// the cluster's own RBAC; Deny is the last word where the plugin is asked before them.
func (p *Plugin) Authorize(_ context.Context, a authorization.Attributes) (authorization.Decision, string, error) {
	if a.Verb != "delete" && a.Verb != "deletecollection" || slices.Contains(a.User.Groups, p.settings.Group) {
		return authorization.NoOpinion, "", nil
	}
	namespace := a.Namespace
	if a.Group == "" && a.Resource == "namespaces" {
		namespace = a.Name
	}
	if !slices.Contains(p.settings.Protected, namespace) {
		return authorization.NoOpinion, "", nil
	}
	return authorization.Deny, fmt.Sprintf("namespace %s is protected, only members of %s delete there", namespace, p.settings.Group), nil
}
