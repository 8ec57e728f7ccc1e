// Package daemon runs a containerd of the node's own: detached, with its own root, state
// and socket, so that a cluster in a directory neither needs nor touches the containerd
// that the machine may already have. It knows containerd's command line and configuration
// and nothing of pods.
package daemon
