package network

import (
	"context"
	"fmt"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
)

func TestEveryNodeClaimsARangeOfItsOwn(t *testing.T) {
	const nodes = 16
	var objs []runtime.Object
	for i := range nodes {
		name := fmt.Sprintf("n%d", i)
		objs = append(objs, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID(name)}})
	}
	client := fake.NewClientset(objs...)
	s := defaultSettings()
	s.ClusterCIDR, s.NodeMaskSize = "10.7.0.0/20", 24 // exactly sixteen ranges
	got := make([]string, nodes)
	var wg sync.WaitGroup
	for i := range nodes {
		wg.Go(func() {
			cidrs, err := podCIDRs(context.Background(), client, s, fmt.Sprintf("n%d", i))
			if err != nil {
				t.Errorf("node n%d: %v", i, err)
				return
			}
			got[i] = cidrs[0]
		})
	}
	wg.Wait()
	seen := map[string]bool{}
	for i, c := range got {
		if c == "" || seen[c] {
			t.Errorf("node n%d got %q, which is empty or taken", i, c)
		}
		seen[c] = true
	}
	// Asked again, a node has what it had; one more node finds nothing.
	again, err := podCIDRs(context.Background(), client, s, "n3")
	if err != nil || again[0] != got[3] {
		t.Errorf("asked again n3 got %v, %v, want %s", again, err, got[3])
	}
	if _, err := client.CoreV1().Nodes().Create(context.Background(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "late", UID: "late"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := podCIDRs(context.Background(), client, s, "late"); err == nil {
		t.Error("a seventeenth node got one of sixteen ranges")
	}
}
