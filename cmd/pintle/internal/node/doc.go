// Package node wires a node agent: containerd, the node's plugins in a plugin host of
// its own, and the agent. Like controlplane it decides nothing.
package node
