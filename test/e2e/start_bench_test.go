package e2e

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// BenchmarkPodStart measures from the create of a pod, its image present, until a watcher
// sees it Running: API, scheduler, agent, network and containerd together.
//
//	go test -run '^$' -bench PodStart -benchtime 40x ./test/e2e
func BenchmarkPodStart(b *testing.B) {
	const ns = "default"
	ctx, cancel := context.WithTimeout(b.Context(), 5*time.Minute)
	defer cancel()
	pods := cluster.client.CoreV1().Pods(ns)
	// The namespace's service account comes moments after a new cluster.
	for {
		if _, err := cluster.client.CoreV1().ServiceAccounts(ns).Get(ctx, "default", metav1.GetOptions{}); err == nil {
			break
		}
		if ctx.Err() != nil {
			b.Fatal("no default service account")
		}
	}
	grace := int64(0)
	var took []time.Duration
	for i := range b.N {
		name := fmt.Sprintf("start-%d-%d", b.N, i)
		w, err := pods.Watch(ctx, metav1.ListOptions{FieldSelector: "metadata.name=" + name})
		if err != nil {
			b.Fatal(err)
		}
		started := time.Now()
		if _, err := pods.Create(ctx, &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: name},
			Spec: corev1.PodSpec{
				TerminationGracePeriodSeconds: &grace,
				Containers:                    []corev1.Container{{Name: "main", Image: "pintle.dev/hello:v1"}},
			},
		}, metav1.CreateOptions{}); err != nil {
			b.Fatal(err)
		}
		for e := range w.ResultChan() {
			if p, ok := e.Object.(*corev1.Pod); ok && p.Status.Phase == corev1.PodRunning {
				took = append(took, time.Since(started))
				break
			}
		}
		w.Stop()
		if err := pods.Delete(ctx, name, metav1.DeleteOptions{GracePeriodSeconds: &grace}); err != nil {
			b.Fatal(err)
		}
	}
	if len(took) < b.N {
		b.Fatalf("%d of %d pods ran", len(took), b.N)
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Milliseconds()), "p50-ms")
	b.ReportMetric(float64(took[len(took)*99/100].Milliseconds()), "p99-ms")
}
