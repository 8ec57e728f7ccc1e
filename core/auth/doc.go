// Package auth says who asks and what they may do: authentication (client certificates,
// tokens of several sorts, front proxies), RBAC, webhooks, and the cluster's certificate authority.
//
// This package has what the others share: the union of authenticators, that of
// authorizers, and the tokens of plugins. It must not know HTTP routes, resource types, or
// where roles and keys are kept.
package auth
