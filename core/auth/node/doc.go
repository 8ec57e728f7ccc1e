// Package node decides what node agents may do: what upstream's role system:node allows,
// but only as far as it concerns the node itself and the pods bound to it.
//
// Authorizer decides by what a request names, Restriction by what is in its body. The
// package must not know how requests are served.
package node
