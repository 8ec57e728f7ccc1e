package remote

import (
	"context"

	"github.com/pintle-dev/pintle/sdk/network"
	"github.com/pintle-dev/pintle/sdk/plugin"
	pluginv1 "github.com/pintle-dev/pintle/sdk/proto/plugin/v1"
	"github.com/pintle-dev/pintle/sdk/protocol"
)

// Network returns the plugin as a network, where it is one.
func (c *Client) Network() (network.Network, bool) {
	return remoteNetwork{Client: c, client: pluginv1.NewNetworkClient(c.conn)}, c.offers(protocol.PointNetwork)
}

type remoteNetwork struct {
	*Client
	client pluginv1.NetworkClient
}

// Setup implements network.Network.
func (n remoteNetwork) Setup(ctx context.Context, _ plugin.Env, node network.Node) error {
	env, err := n.environment()
	if err != nil {
		return err
	}
	_, err = n.client.Setup(ctx, &pluginv1.SetupRequest{Environment: env, Node: nodeToWire(node)})
	return result(err)
}

// Attach implements network.Network.
func (n remoteNetwork) Attach(ctx context.Context, pod network.Pod) (network.Result, error) {
	r, err := n.client.Attach(ctx, &pluginv1.AttachRequest{Pod: podToWire(pod)})
	if err != nil {
		return network.Result{}, unwire(err)
	}
	return network.Result{IPs: r.GetIps(), Interface: r.GetInterface()}, nil
}

// Detach implements network.Network.
func (n remoteNetwork) Detach(ctx context.Context, pod network.Pod) error {
	_, err := n.client.Detach(ctx, &pluginv1.DetachRequest{Pod: podToWire(pod)})
	return result(err)
}

// Check implements network.Network.
func (n remoteNetwork) Check(ctx context.Context, pod network.Pod) error {
	_, err := n.client.Check(ctx, &pluginv1.CheckRequest{Pod: podToWire(pod)})
	return result(err)
}

// Teardown implements network.Network.
func (n remoteNetwork) Teardown(ctx context.Context) error {
	_, err := n.client.Teardown(ctx, &pluginv1.TeardownRequest{})
	return result(err)
}

func result(err error) error {
	if err == nil {
		return nil
	}
	return unwire(err)
}

// nodeToWire converts what a network plugin is told about its node.
func nodeToWire(n network.Node) *pluginv1.NetworkNode {
	return &pluginv1.NetworkNode{Name: n.Name, PodCidrs: n.PodCIDRs, Addresses: n.Addresses}
}

// podToWire converts a pod sandbox.
func podToWire(p network.Pod) *pluginv1.NetworkPod {
	out := &pluginv1.NetworkPod{
		Namespace: p.Namespace, Name: p.Name, Uid: p.UID,
		SandboxId: p.SandboxID, Netns: p.NetNS, Annotations: p.Annotations,
	}
	for _, m := range p.Ports {
		out.Ports = append(out.Ports, &pluginv1.PortMapping{
			HostPort: m.HostPort, ContainerPort: m.ContainerPort, Protocol: m.Protocol, HostIp: m.HostIP,
		})
	}
	return out
}
