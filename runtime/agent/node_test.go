package agent

import (
	"log/slog"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/rest"

	"github.com/pintle-dev/pintle/runtime/driver/sim"
)

// What a cloud has said of a node stays as the cloud said it.
func TestExternalCloud(t *testing.T) {
	ctx, client := t.Context(), fake.NewClientset()
	cfg := Config{
		NodeName: "n1", NodeIP: "192.0.2.1", Client: &rest.Config{}, Driver: sim.New(sim.Options{}), Network: &fakeNet{attached: map[string]bool{}},
		Dir: t.TempDir(), ListenAddress: "-", NoCgroups: true, Logger: slog.New(slog.DiscardHandler), ExternalCloud: true,
	}
	if err := cfg.complete(); err != nil {
		t.Fatal(err)
	}
	n := newNodeStatus(newAgent(cfg, client))
	node, err := n.registerOnce(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if ts := node.Spec.Taints; len(ts) != 1 || ts[0].Key != "node.cloudprovider.kubernetes.io/uninitialized" || ts[0].Effect != corev1.TaintEffectNoSchedule {
		t.Errorf("taints: %v", ts)
	}
	if a := node.Status.Addresses; len(a) != 2 || a[0].Address != "192.0.2.1" {
		t.Errorf("addresses before the cloud has looked: %v", a)
	}
	node.Spec.Taints, node.Spec.ProviderID = nil, "sky://1"
	node.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeExternalIP, Address: "203.0.113.1"}}
	if _, err := client.CoreV1().Nodes().Update(ctx, node, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	if node, err = n.registerOnce(ctx); err != nil { // the agent starts again
		t.Fatal(err)
	}
	if a := node.Status.Addresses; len(a) != 1 || a[0].Address != "203.0.113.1" || len(node.Spec.Taints) > 0 {
		t.Errorf("addresses %v, taints %v", a, node.Spec.Taints)
	}
}
