// Package connect relays byte streams between clients and what runs on nodes: a pod's
// log, exec, attach and port-forward, and the proxy subresources of pods, services and
// nodes.
//
// It knows where a pod runs and how its node's agent is reached. It must not know what
// flows through: streams are copied as they are, and only wrapped anew where client and
// agent speak different transports (WebSocket and SPDY).
package connect
