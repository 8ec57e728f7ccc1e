// Package protocol holds what both ends of the plugin contract must agree on: the
// handshake, the names and versions of extension points, how a plugin reaches the API
// server, and how Go values are put on the wire. Package serve is the plugin's end,
// package remote the host's.
//
// It must not know how plugins are launched or supervised, nor what any plugin does.
package protocol
