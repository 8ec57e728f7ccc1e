// Package network is the extension point for pod networking: a plugin that runs on each
// node, sets the node up and attaches pods to the network.
package network

import (
	"context"

	"github.com/pintle-dev/pintle/sdk/plugin"
)

// Network connects the pods of one node. All calls are idempotent: a call that is
// repeated after a crash gives the same result.
type Network interface {
	plugin.Plugin
	// Setup prepares the node (bridge, routes, forwarding) and returns when pods can be
	// attached. It is called at start and again when the node's pod CIDRs change. It runs
	// the plugin's background work (routes to other nodes) until Teardown or exit.
	Setup(ctx context.Context, env plugin.Env, node Node) error
	// Attach connects a pod's network namespace and returns its addresses.
	Attach(ctx context.Context, pod Pod) (Result, error)
	// Detach undoes Attach; the namespace may be gone by then.
	Detach(ctx context.Context, pod Pod) error
	// Check reports whether an attached pod is still connected as it should be.
	Check(ctx context.Context, pod Pod) error
	// Teardown removes from the node all that Setup and Attach made, also in a process before
	// this one. Setup has been called before it, as the node was then.
	Teardown(ctx context.Context) error
}

// Node is what a network plugin is told about its node.
type Node struct {
	Name string
	// PodCIDRs of this node, at most one of each family.
	PodCIDRs []string
	// Addresses of the node itself.
	Addresses []string
}

// Pod is a pod sandbox to be attached.
type Pod struct {
	Namespace, Name, UID string
	// SandboxID identifies the attachment; CNI's container id.
	SandboxID string
	// NetNS is the path of the network namespace.
	NetNS string
	// Ports with a host port.
	Ports       []PortMapping
	Annotations map[string]string
}

// PortMapping is a container port published on the node.
type PortMapping struct {
	HostPort, ContainerPort int32
	Protocol, HostIP        string
}

// Result is what an attached pod got.
type Result struct {
	// IPs without prefix length, the primary one first.
	IPs []string
	// Interface inside the pod, such as "eth0".
	Interface string
}
