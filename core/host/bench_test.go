package host_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/pintle-dev/pintle/core/admission/match"
	"github.com/pintle-dev/pintle/core/admission/plugins"
	"github.com/pintle-dev/pintle/core/host"
	"github.com/pintle-dev/pintle/crd/registry"
	"github.com/pintle-dev/pintle/sdk/admission"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// pod2k is a pod whose JSON has about 2 KiB.
func pod2k() map[string]any {
	containers := []any{}
	for i := range 2 {
		containers = append(containers, map[string]any{
			"name": fmt.Sprintf("container-%d", i), "image": "registry.example.org/team/application@sha256:" + strings.Repeat("0a", 32),
			"args":            []any{"--verbose", "--listen=:8080", "--config=/etc/application/config.yaml"},
			"ports":           []any{map[string]any{"containerPort": int64(8080 + i), "name": "http", "protocol": "TCP"}},
			"env":             []any{map[string]any{"name": "POD_NAME", "valueFrom": map[string]any{"fieldRef": map[string]any{"apiVersion": "v1", "fieldPath": "metadata.name"}}}, map[string]any{"name": "LEVEL", "value": "info"}},
			"resources":       map[string]any{"limits": map[string]any{"cpu": "500m", "memory": "128Mi"}, "requests": map[string]any{"cpu": "100m", "memory": "64Mi"}},
			"imagePullPolicy": "IfNotPresent", "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
		})
	}
	return map[string]any{
		"apiVersion": "v1", "kind": "Pod",
		"metadata": map[string]any{
			"name": "application-7d9c6b5f4-x2x9z", "namespace": "team", "uid": "3e0f1d5e-7f27-4b6d-9f0e-2f1f7c6f6a11",
			"creationTimestamp": "2026-01-01T00:00:00Z",
			"labels":            map[string]any{"app": "application", "pod-template-hash": "7d9c6b5f4"},
			"ownerReferences":   []any{map[string]any{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "application-7d9c6b5f4", "uid": "a9b0c1d2-7f27-4b6d-9f0e-2f1f7c6f6a11", "controller": true, "blockOwnerDeletion": true}},
		},
		"spec": map[string]any{
			"containers": containers, "restartPolicy": "Always", "dnsPolicy": "ClusterFirst", "serviceAccountName": "default",
			"schedulerName": "default-scheduler", "terminationGracePeriodSeconds": int64(30), "enableServiceLinks": true,
			"tolerations": []any{map[string]any{"effect": "NoExecute", "key": "node.kubernetes.io/not-ready", "operator": "Exists", "tolerationSeconds": int64(300)}},
		},
	}
}

// cpuOf is the processor time that a process has used.
func cpuOf(b *testing.B, pid int) time.Duration {
	b.Helper()
	// schedstat of a process is its first thread's: those of all threads are added up.
	tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		b.Fatal(err)
	}
	var total time.Duration
	for _, t := range tasks {
		raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/schedstat", pid, t.Name()))
		if err != nil {
			continue // a thread that has just ended
		}
		var ns int64
		if _, err := fmt.Sscan(string(raw), &ns); err == nil {
			total += time.Duration(ns)
		}
	}
	return total
}

func ownCPU() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// measure makes calls, inFlight at a time, and reports their latencies and what they cost.
func measure(b *testing.B, pid, inFlight int, call func() error) {
	for range 200 {
		if err := call(); err != nil {
			b.Fatal(err)
		}
	}
	took := make([][]time.Duration, inFlight)
	here, there := ownCPU(), cpuOf(b, pid)
	b.ResetTimer()
	var all sync.WaitGroup
	for w := range inFlight {
		n := b.N / inFlight
		if w < b.N%inFlight {
			n++
		}
		all.Go(func() {
			mine := make([]time.Duration, 0, n)
			for range n {
				start := time.Now()
				if err := call(); err != nil {
					b.Error(err)
					return
				}
				mine = append(mine, time.Since(start))
			}
			took[w] = mine
		})
	}
	all.Wait()
	b.StopTimer()
	here, there = ownCPU()-here, cpuOf(b, pid)-there
	every := slices.Concat(took...)
	if len(every) == 0 {
		b.FailNow()
	}
	slices.Sort(every)
	us := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 }
	b.ReportMetric(us(every[len(every)/2]), "µs-median")
	b.ReportMetric(us(every[len(every)*99/100]), "µs-p99")
	b.ReportMetric(us(here)/float64(b.N), "µs-host-cpu/op")
	b.ReportMetric(us(there)/float64(b.N), "µs-plugin-cpu/op")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkHook measures calls of plugins in processes of their own, for an object of 2 KiB:
// the hook of a type, and admission as the API server asks for it.
func BenchmarkHook(b *testing.B) {
	raw, err := json.Marshal(pod2k())
	if err != nil || len(raw) < 2000 || len(raw) > 2100 {
		b.Fatalf("object of %d bytes, %v", len(raw), err)
	}
	bundles := make(chan resource.Bundle, 1)
	asked, err := plugins.New(plugins.Config{Equivalents: match.NewRegistry(registry.New())})
	if err != nil {
		b.Fatal(err)
	}
	r := start(b, func(c *host.Config) {
		c.OnBundle = func(_ string, bundle resource.Bundle) error { bundles <- bundle; return nil }
		c.Admission = asked
	}, spec(b, "types", "widgets"), spec(b, "admission", "guard"))
	types, guard := r.wait(b, "widgets", healthy).PID, r.wait(b, "guard", healthy).PID
	hooks := (<-bundles).Hooks(schema.GroupResource{Group: "example.dev", Resource: "widgets"})
	request := func() *resource.Request {
		return &resource.Request{
			Operation: resource.Create, Name: "x", Namespace: "team", Object: pod2k(),
			Resource: schema.GroupVersionResource{Version: "v1", Resource: "pods"},
			Kind:     schema.GroupVersionKind{Version: "v1", Kind: "Pod"},
			User:     resource.User{Name: "jane", Groups: []string{"system:authenticated"}},
		}
	}
	review := func() *admission.Request {
		return &admission.Request{Request: request(), Annotate: func(string, string) {}}
	}
	ctx := context.Background()
	for _, c := range []struct {
		name string
		pid  int
		call func() error
	}{
		{"validate", types, func() func() error {
			v, q := hooks.(resource.Validator), request()
			return func() error { return v.Validate(ctx, q).ToAggregate() }
		}()},
		{"admission-validate", guard, func() func() error {
			v, q := asked.Validator(), review()
			return func() error { return v.Validate(ctx, q) }
		}()},
		{"admission-mutate", guard, func() func() error {
			m, q := asked.Mutator(), review().Request
			return func() error {
				own := *q // what a mutator changes is its own
				_, err := m.Mutate(ctx, &admission.Request{Request: &own, Annotate: func(string, string) {}})
				return err
			}
		}()},
	} {
		for _, inFlight := range []int{1, 64} {
			b.Run(fmt.Sprintf("%s/inflight=%d", c.name, inFlight), func(b *testing.B) { measure(b, c.pid, inFlight, c.call) })
		}
	}
}
