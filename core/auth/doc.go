// Package auth says who asks and what they may do: authentication (client certificates,
// service-account tokens, plugin tokens), RBAC, and the cluster's certificate authority.
package auth
