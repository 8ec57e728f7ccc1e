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

	"github.com/pintle-dev/pintle/core/host"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// pod2k is a pod whose JSON has about 2 KiB.
func pod2k() map[string]any {
	containers := []any{}
	for i := range 3 {
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
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/schedstat", pid))
	if err != nil {
		b.Fatal(err)
	}
	// schedstat of the process is its first thread's: all are added up.
	_ = raw
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
	slices.Sort(every)
	us := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 }
	b.ReportMetric(us(every[len(every)/2]), "µs-median")
	b.ReportMetric(us(every[len(every)*99/100]), "µs-p99")
	b.ReportMetric(us(here)/float64(b.N), "µs-host-cpu/op")
	b.ReportMetric(us(there)/float64(b.N), "µs-plugin-cpu/op")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkHook measures calls of a plugin in a process of its own, for an object of 2 KiB.
func BenchmarkHook(b *testing.B) {
	raw, err := json.Marshal(pod2k())
	if err != nil {
		b.Fatal(err)
	}
	b.Logf("object of %d bytes", len(raw))
	bundles := make(chan resource.Bundle, 1)
	r := start(b, func(c *host.Config) {
		c.OnBundle = func(_ string, bundle resource.Bundle) error { bundles <- bundle; return nil }
	}, spec(b, "types", "widgets"))
	pid := r.wait(b, "widgets", healthy).PID
	hooks := (<-bundles).Hooks(schema.GroupResource{Group: "example.dev", Resource: "widgets"})
	request := func() *resource.Request {
		return &resource.Request{
			Operation: resource.Create, Name: "x", Namespace: "team", Object: pod2k(),
			User: resource.User{Name: "jane", Groups: []string{"system:authenticated"}},
		}
	}
	ctx := context.Background()
	calls := map[string]func() func() error{
		"validate": func() func() error {
			v, q := hooks.(resource.Validator), request()
			return func() error { return v.Validate(ctx, q).ToAggregate() }
		},
	}
	for _, name := range []string{"validate"} {
		for _, inFlight := range []int{1, 64} {
			b.Run(fmt.Sprintf("%s/inflight=%d", name, inFlight), func(b *testing.B) { measure(b, pid, inFlight, calls[name]()) })
		}
	}
}
