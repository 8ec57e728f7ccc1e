// Package apisocket is the API on a node's unix socket, for guests that have no network. Who
// comes with a token is spoken for to the servers with the credentials that belong to it; all
// else of a request goes through as it is, watches and streams too.
//
// It knows tokens and requests. It must not know what plugins are, nor decide what anybody may do.
package apisocket
