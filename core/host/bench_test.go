package host_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
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

// way is how a plugin is called: a transport, and what was measured of it.
type way struct {
	name        string
	pid         int
	call        func() error
	took        []time.Duration
	here, there time.Duration
}

// turn is how many calls are made in one way before it is the other's turn, for each in flight.
const turn = 100

// measure makes b.N calls in each way, inFlight at a time and by turns, so that a machine that is busy
// with other things is so for all of them. It reports latencies and what the calls cost.
func measure(b *testing.B, inFlight int, ways ...*way) {
	for _, w := range ways {
		for range 200 {
			if err := w.call(); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ResetTimer()
	for left := b.N; left > 0; left -= turn * inFlight {
		for _, w := range ways {
			w.calls(b, min(left, turn*inFlight), inFlight)
		}
	}
	b.StopTimer()
	us := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 }
	for _, w := range ways {
		if len(w.took) == 0 {
			b.FailNow()
		}
		slices.Sort(w.took)
		b.ReportMetric(us(w.took[len(w.took)/2]), "µs-median-"+w.name)
		b.ReportMetric(us(w.took[len(w.took)*99/100]), "µs-p99-"+w.name)
		b.ReportMetric(us(w.here)/float64(len(w.took)), "µs-host-cpu-"+w.name)
		b.ReportMetric(us(w.there)/float64(len(w.took)), "µs-plugin-cpu-"+w.name)
	}
	b.ReportMetric(0, "ns/op")
}

// calls makes n calls.
func (w *way) calls(b *testing.B, n, inFlight int) {
	took := make([][]time.Duration, inFlight)
	here, there := ownCPU(), cpuOf(b, w.pid)
	var all sync.WaitGroup
	for i := range inFlight {
		share := n / inFlight
		if i < n%inFlight {
			share++
		}
		all.Go(func() {
			mine := make([]time.Duration, 0, share)
			for range share {
				start := time.Now()
				if err := w.call(); err != nil {
					b.Error(err)
					return
				}
				mine = append(mine, time.Since(start))
			}
			took[i] = mine
		})
	}
	all.Wait()
	w.here, w.there = w.here+ownCPU()-here, w.there+cpuOf(b, w.pid)-there
	w.took = append(w.took, slices.Concat(took...)...)
}

// hookEnds are a host's ends of the calls of two plugins, one with the hooks of a type and one with
// admission.
type hookEnds struct {
	hooks        any
	asked        *plugins.Plugins
	types, guard int
}

func endsOf(b *testing.B, kind string) hookEnds {
	bundles := make(chan resource.Bundle, 1)
	asked, err := plugins.New(plugins.Config{Equivalents: match.NewRegistry(registry.New())})
	if err != nil {
		b.Fatal(err)
	}
	r := start(b, func(c *host.Config) {
		c.OnBundle = func(_ string, bundle resource.Bundle) error { bundles <- bundle; return nil }
		c.Admission = asked
	}, spec(b, "types"+kind, "widgets"), spec(b, "admission"+kind, "guard"))
	e := hookEnds{asked: asked, types: r.wait(b, "widgets", healthy).PID, guard: r.wait(b, "guard", healthy).PID}
	e.hooks = (<-bundles).Hooks(schema.GroupResource{Group: "example.dev", Resource: "widgets"})
	return e
}

// BenchmarkHook measures calls of plugins in processes of their own, for an object of 2 KiB: the hook
// of a type, and admission as the API server asks for it. Each is made over lines, and over gRPC as
// to plugins that have none.
func BenchmarkHook(b *testing.B) {
	raw, err := json.Marshal(pod2k())
	if err != nil || len(raw) < 2000 || len(raw) > 2100 {
		b.Fatalf("object of %d bytes, %v", len(raw), err)
	}
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
	ends := map[string]hookEnds{"line": endsOf(b, ""), "grpc": endsOf(b, "-over-grpc")}
	for _, c := range []struct {
		name string
		way  func(hookEnds) *way
	}{
		{"validate", func(e hookEnds) *way {
			v, q := e.hooks.(resource.Validator), request()
			return &way{pid: e.types, call: func() error { return v.Validate(ctx, q).ToAggregate() }}
		}},
		{"admission-validate", func(e hookEnds) *way {
			v, q := e.asked.Validator(), review()
			return &way{pid: e.guard, call: func() error { return v.Validate(ctx, q) }}
		}},
		{"admission-mutate", func(e hookEnds) *way {
			m, q := e.asked.Mutator(), review().Request
			return &way{pid: e.guard, call: func() error {
				own := *q // what a mutator changes is its own
				_, err := m.Mutate(ctx, &admission.Request{Request: &own, Annotate: func(string, string) {}})
				return err
			}}
		}},
	} {
		for _, inFlight := range []int{1, 64} {
			b.Run(fmt.Sprintf("%s/inflight=%d", c.name, inFlight), func(b *testing.B) {
				var ways []*way
				for _, name := range slices.Sorted(maps.Keys(ends)) {
					w := c.way(ends[name])
					w.name = name
					ways = append(ways, w)
				}
				measure(b, inFlight, ways...)
			})
		}
	}
}
