package main

import (
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/pintle-dev/pintle/sdk/plugintest/cluster"
)

// Six pods go to two nodes, three to each; another scheduler's stays where it is.
func TestInACluster(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Plugins: []cluster.Plugin{{Impl: &Plugin{}}}})
	client, err := kubernetes.NewForConfig(c.Config)
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	for _, name := range []string{"left", "right"} {
		n := node(name, corev1.ConditionTrue)
		n.Status.Allocatable = corev1.ResourceList{corev1.ResourcePods: resource.MustParse("110")}
		if _, err := client.CoreV1().Nodes().Create(ctx, n, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		if _, err := client.CoreV1().Nodes().UpdateStatus(ctx, n, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	create := func(name, scheduler string) {
		t.Helper()
		p := pod(name, scheduler)
		p.Spec.Containers = []corev1.Container{{Name: "main", Image: "pintle.dev/hello:v1"}}
		p.Spec.Tolerations = []corev1.Toleration{{Operator: corev1.TolerationOpExists}}
		if _, err := client.CoreV1().Pods("default").Create(ctx, p, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	create("theirs", "default-scheduler")
	bound := func() (map[string]int, int) {
		t.Helper()
		pods, err := client.CoreV1().Pods("default").List(ctx, metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		on, n := map[string]int{}, 0
		for _, p := range pods.Items {
			if p.Spec.NodeName != "" {
				on[p.Spec.NodeName]++
				n++
			}
		}
		return on, n
	}
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	deadline := time.After(cluster.Patience)
	for i := range 6 {
		create(fmt.Sprintf("ours-%d", i), "fewestpods")
		for { // one after the other, so that each decision sees the one before
			if _, n := bound(); n == i+1 {
				break
			}
			select {
			case <-again.C:
			case <-deadline:
				t.Fatalf("pod %d was not bound", i)
			}
		}
	}
	if on, _ := bound(); on["left"] != 3 || on["right"] != 3 {
		t.Errorf("pods by node: %v", on)
	}
}
