package config

import "fmt"

// AuthenticationPlugin lets a plugin say whose bearer tokens are that nobody in the server
// knows. A plugin that is not named is not asked, whatever it offers.
type AuthenticationPlugin struct {
	// Name of the plugin.
	Name string `json:"name"`
	// Timeout of a call, 5s where it is not set. Without an answer, the next is asked.
	Timeout Duration `json:"timeout"`
	// CacheTTL is how long answers are remembered, 2m where it is not set; negative: not at
	// all.
	CacheTTL Duration `json:"cacheTTL"`
	// Allow names users, groups and keys of extra that the plugin may give although they are
	// the cluster's own: those that begin with "system:" or "pintle:", and keys of
	// kubernetes.io, k8s.io and pintle.dev. A trailing "*" stands for all that begin so.
	// Who has system:masters here may become an administrator of the cluster.
	Allow []string `json:"allow"`
}

// Where an authorization plugin is asked.
const (
	AfterRBAC  = "AfterRBAC"
	BeforeRBAC = "BeforeRBAC"
)

// What an authorization plugin that gives no answer means.
const (
	FailureNoOpinion = "NoOpinion"
	FailureDeny      = "Deny"
)

// AuthorizationPlugin lets a plugin decide what users may do. A plugin that is not named is not
// asked, whatever it offers.
type AuthorizationPlugin struct {
	// Name of the plugin.
	Name string `json:"name"`
	// Position is AfterRBAC, where the plugin can allow more, or BeforeRBAC, where it can
	// deny what RBAC would allow, too. AfterRBAC where it is not set.
	Position string `json:"position"`
	// FailurePolicy says what it means that the plugin gives no answer: NoOpinion, where it
	// is not set, or Deny.
	FailurePolicy string `json:"failurePolicy"`
	// Timeout of a call, 5s where it is not set.
	Timeout Duration `json:"timeout"`
	// AuthorizedTTL and UnauthorizedTTL are how long answers are remembered, 5m and 30s
	// where they are not set; negative: not at all.
	AuthorizedTTL   Duration `json:"authorizedTTL"`
	UnauthorizedTTL Duration `json:"unauthorizedTTL"`
}

func (a *Access) validatePlugins() error {
	seen := map[string]bool{}
	for i, p := range a.AuthenticationPlugins {
		at := fmt.Sprintf("api.authenticationPlugins[%d]", i)
		switch {
		case p.Name == "":
			return fmt.Errorf("%s.name: is required", at)
		case seen[p.Name]:
			return fmt.Errorf("%s.name: %q is named twice", at, p.Name)
		case p.Timeout < 0:
			return fmt.Errorf("%s.timeout: is negative", at)
		}
		for j, name := range p.Allow {
			if name == "" || name == "*" {
				return fmt.Errorf("%s.allow[%d]: %q would allow everything: name what is meant", at, j, name)
			}
		}
		seen[p.Name] = true
	}
	clear(seen)
	for i, p := range a.AuthorizationPlugins {
		at := fmt.Sprintf("api.authorizationPlugins[%d]", i)
		switch {
		case p.Name == "":
			return fmt.Errorf("%s.name: is required", at)
		case seen[p.Name]:
			return fmt.Errorf("%s.name: %q is named twice", at, p.Name)
		case p.Position != "" && p.Position != AfterRBAC && p.Position != BeforeRBAC:
			return fmt.Errorf("%s.position: %q is neither %s nor %s", at, p.Position, AfterRBAC, BeforeRBAC)
		case p.FailurePolicy != "" && p.FailurePolicy != FailureNoOpinion && p.FailurePolicy != FailureDeny:
			return fmt.Errorf("%s.failurePolicy: %q is neither %s nor %s", at, p.FailurePolicy, FailureNoOpinion, FailureDeny)
		case p.Timeout < 0:
			return fmt.Errorf("%s.timeout: is negative", at)
		}
		seen[p.Name] = true
	}
	return nil
}
