package protocol

import (
	"github.com/pintle-dev/pintle/sdk/network"
	pluginv1 "github.com/pintle-dev/pintle/sdk/proto/plugin/v1"
)

// NodeToWire converts what a network plugin is told about its node.
func NodeToWire(n network.Node) *pluginv1.NetworkNode {
	return &pluginv1.NetworkNode{Name: n.Name, PodCidrs: n.PodCIDRs, Addresses: n.Addresses}
}

// NodeFromWire converts what a network plugin is told about its node.
func NodeFromWire(n *pluginv1.NetworkNode) network.Node {
	return network.Node{Name: n.GetName(), PodCIDRs: n.GetPodCidrs(), Addresses: n.GetAddresses()}
}

// PodToWire converts a pod sandbox.
func PodToWire(p network.Pod) *pluginv1.NetworkPod {
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

// PodFromWire converts a pod sandbox.
func PodFromWire(p *pluginv1.NetworkPod) network.Pod {
	out := network.Pod{
		Namespace: p.GetNamespace(), Name: p.GetName(), UID: p.GetUid(),
		SandboxID: p.GetSandboxId(), NetNS: p.GetNetns(), Annotations: p.GetAnnotations(),
	}
	for _, m := range p.GetPorts() {
		out.Ports = append(out.Ports, network.PortMapping{
			HostPort: m.GetHostPort(), ContainerPort: m.GetContainerPort(),
			Protocol: m.GetProtocol(), HostIP: m.GetHostIp(),
		})
	}
	return out
}
