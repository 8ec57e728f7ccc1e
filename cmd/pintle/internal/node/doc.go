// Package node wires a node agent: containerd, the network plugin in a plugin host of its
// own, and the agent. Like controlplane it decides nothing.
package node
