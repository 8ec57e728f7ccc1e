package cache_test

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	clientcache "k8s.io/client-go/tools/cache"

	"github.com/pintle-dev/pintle/sdk/cache"
)

const (
	podsWatched = 5000
	controllers = 10
)

// BenchmarkMemory tells what ten controllers of one process that watch 5,000 pods keep in memory:
// each with an informer of client-go's, and with one cache that they share. The server is in
// the process, too; what it takes is there before.
func BenchmarkMemory(b *testing.B) {
	e := start(b)
	fill(b, e)
	b.Run("informers", func(b *testing.B) {
		measure(b, func(ctx context.Context) {
			for range controllers {
				f := informers.NewSharedInformerFactory(e.client, 0)
				i := f.Core().V1().Pods().Informer()
				f.StartWithContext(ctx)
				if !clientcache.WaitForCacheSync(ctx.Done(), i.HasSynced) {
					b.Fatal("not synced")
				}
				b.Cleanup(f.Shutdown)
			}
		})
	})
	b.Run("shared", func(b *testing.B) {
		measure(b, func(ctx context.Context) {
			for range controllers {
				v := view[placed](b, e, cache.Query{})
				v.Index(func(p *placed) []string { return []string{p.Spec.NodeName} })
			}
			w := view[phased](b, e, cache.Query{})
			go func() { _ = e.cache.Run(ctx) }()
			synced(b, w)
		})
	})
}

// measure reports by how much the heap has grown when begin returns.
func measure(b *testing.B, begin func(context.Context)) {
	b.Helper()
	before := heap()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	begin(ctx)
	grown := int64(heap()) - int64(before)
	b.ReportMetric(float64(grown)/(1<<20), "MiB")
	b.ReportMetric(float64(grown)/podsWatched, "B/pod")
	b.ReportMetric(0, "ns/op")
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func fill(b *testing.B, e *env) {
	b.Helper()
	var all sync.WaitGroup
	next := make(chan int)
	for range 16 {
		all.Go(func() {
			for i := range next {
				if _, err := e.client.CoreV1().Pods("default").Create(context.Background(), typical(i), metav1.CreateOptions{}); err != nil {
					b.Error(err)
				}
			}
		})
	}
	for i := range podsWatched {
		next <- i
	}
	close(next)
	all.Wait()
}

// typical is a pod as a deployment makes it.
func typical(i int) *corev1.Pod {
	limits := corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("500m"), corev1.ResourceMemory: resource.MustParse("256Mi")}
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name:        fmt.Sprintf("web-7d4b9c6f5d-%05d", i),
			Labels:      map[string]string{"app": "web", "pod-template-hash": "7d4b9c6f5d", "tier": "front"},
			Annotations: map[string]string{"prometheus.io/scrape": "true", "checksum/config": "b1946ac92492d2347c6235b4d2611184"},
		},
		Spec: corev1.PodSpec{NodeName: fmt.Sprintf("node-%d", i%100), ServiceAccountName: "web"},
	}
	for _, name := range []string{"web", "proxy"} {
		c := corev1.Container{
			Name: name, Image: "registry.example.com/team/" + name + ":v1.2.3",
			Resources:     corev1.ResourceRequirements{Limits: limits, Requests: limits},
			Ports:         []corev1.ContainerPort{{Name: "http", ContainerPort: 8080}},
			LivenessProbe: &corev1.Probe{ProbeHandler: corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{"/bin/check", "--live"}}}},
		}
		for v := range 12 {
			c.Env = append(c.Env, corev1.EnvVar{Name: fmt.Sprintf("SETTING_%d", v), Value: fmt.Sprintf("some value of setting %d", v)})
		}
		pod.Spec.Containers = append(pod.Spec.Containers, c)
	}
	return pod
}
