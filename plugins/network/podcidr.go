package network

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
)

const claimNamespace = metav1.NamespaceSystem

// podCIDRs returns the node's pod ranges, claiming one where the node has none. A claim is
// a Lease whose name is the range: creating an object is atomic, so two nodes never get
// the same one, and the Node owns it, so the range is free again when the node is deleted.
func podCIDRs(ctx context.Context, client kubernetes.Interface, settings Settings, nodeName string) ([]string, error) {
	node, err := client.CoreV1().Nodes().Get(ctx, nodeName, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("reading node %s: %w", nodeName, err)
	}
	if len(node.Spec.PodCIDRs) > 0 {
		return node.Spec.PodCIDRs, nil
	}
	cidr, err := claim(ctx, client, settings, node)
	if err != nil {
		return nil, err
	}
	patch, err := json.Marshal(map[string]any{"spec": map[string]any{"podCIDR": cidr, "podCIDRs": []string{cidr}}})
	if err != nil {
		return nil, fmt.Errorf("encoding pod range of node %s: %w", nodeName, err)
	}
	if _, err := client.CoreV1().Nodes().Patch(ctx, nodeName, types.StrategicMergePatchType, patch, metav1.PatchOptions{}); err != nil {
		return nil, fmt.Errorf("setting pod range %s of node %s: %w", cidr, nodeName, err)
	}
	return []string{cidr}, nil
}

func claim(ctx context.Context, client kubernetes.Interface, settings Settings, node *corev1.Node) (string, error) {
	leases := client.CoordinationV1().Leases(claimNamespace)
	cluster := netip.MustParsePrefix(settings.ClusterCIDR)
	for cidr := range subnets(cluster, settings.NodeMaskSize) {
		lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{
			Name:   claimName(cidr),
			Labels: map[string]string{"pintle.dev/pod-cidr-of": node.Name},
			OwnerReferences: []metav1.OwnerReference{{
				APIVersion: "v1", Kind: "Node", Name: node.Name, UID: node.UID,
			}},
		}}
		lease.Spec.HolderIdentity = &node.Name
		_, err := leases.Create(ctx, lease, metav1.CreateOptions{})
		if err == nil {
			return cidr.String(), nil
		}
		if !apierrors.IsAlreadyExists(err) {
			return "", fmt.Errorf("claiming pod range %s for node %s: %w", cidr, node.Name, err)
		}
		held, err := leases.Get(ctx, lease.Name, metav1.GetOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			return "", fmt.Errorf("reading claim of pod range %s: %w", cidr, err)
		}
		// A claim of this very node is left by a run that died before it set the range.
		if err == nil && len(held.OwnerReferences) == 1 && held.OwnerReferences[0].UID == node.UID {
			return cidr.String(), nil
		}
	}
	return "", fmt.Errorf("no free pod range for node %s: every /%d of %s is claimed; widen settings.clusterCIDR", node.Name, settings.NodeMaskSize, cluster)
}

func claimName(cidr netip.Prefix) string {
	return "podcidr-" + strings.NewReplacer(".", "-", "/", "-", ":", "-").Replace(cidr.String())
}

// subnets yields the ranges of the given prefix length inside cluster, in order.
func subnets(cluster netip.Prefix, bits int) func(func(netip.Prefix) bool) {
	return func(yield func(netip.Prefix) bool) {
		base := ipv4ToUint(cluster.Addr())
		for i := range uint64(1) << (bits - cluster.Bits()) {
			if !yield(netip.PrefixFrom(uintToIPv4(base+uint32(i<<(32-bits))), bits)) {
				return
			}
		}
	}
}

func ipv4ToUint(a netip.Addr) uint32 {
	b := a.As4()
	return uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
}

func uintToIPv4(u uint32) netip.Addr {
	return netip.AddrFrom4([4]byte{byte(u >> 24), byte(u >> 16), byte(u >> 8), byte(u)})
}
