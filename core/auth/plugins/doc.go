// Package plugins makes authenticators and authorizers of plugins: with a deadline, a memory of
// answers, and a policy for when a plugin is away.
//
// A plugin is asked because the operator's configuration names it, never because it is
// installed: who may install plugins could else become anybody. For the same reason no plugin
// may name one of the cluster's own identities: whoever is in system:masters may do everything,
// and names that begin with "system:" or "pintle:" are the cluster's own parts, which have
// permissions that no RBAC object shows. What else a plugin may name is up to the
// configuration, see AuthenticatorConfig.Allow.
//
// The package must not know how a plugin is run, nor what makes it come and go.
package plugins
