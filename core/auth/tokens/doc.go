// Package tokens issues and verifies service-account tokens: JSON web tokens signed with
// the cluster's own ES256 keys, bound to a service account and, where asked, to a pod, a
// secret or a node, so that a token dies with what it is bound to.
//
// It knows service accounts as far as a token speaks of them. It must not know who may ask
// for a token, nor what its holder may do.
package tokens
