package customresources_test

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	runtimeschema "k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/pintle-dev/pintle/core/apiserver/customresources"
	"github.com/pintle-dev/pintle/core/store"
	"github.com/pintle-dev/pintle/core/store/storetest"
	"github.com/pintle-dev/pintle/crd/registry"
)

// bigSchema is a schema of some 10 KB.
func bigSchema(i int) map[string]any {
	part := func(n int) map[string]any {
		out := map[string]any{}
		for k := range n {
			out[fmt.Sprintf("field%03d", k)] = map[string]any{
				"type": "object", "description": fmt.Sprintf("Field %d of type %d holds what a controller wants to know about part %d of the object.", k, i, k),
				"properties": map[string]any{
					"name":  map[string]any{"type": "string", "maxLength": 63, "pattern": "^[a-z]([-a-z0-9]*[a-z0-9])?$"},
					"count": map[string]any{"type": "integer", "minimum": 0, "default": k},
					"items": map[string]any{"type": "array", "maxItems": 10, "items": map[string]any{"type": "string", "maxLength": 100}},
				},
			}
		}
		return out
	}
	return map[string]any{"type": "object", "properties": map[string]any{
		"spec":   map[string]any{"type": "object", "properties": part(24)},
		"status": map[string]any{"type": "object", "properties": part(6)},
	}}
}

// bigDefinition is a stored CustomResourceDefinition that is established.
func bigDefinition(i int) (key store.Key, data []byte) {
	group, plural, kind := fmt.Sprintf("g%d.example.com", i%20), fmt.Sprintf("things%04d", i), fmt.Sprintf("Thing%04d", i)
	names := map[string]any{"plural": plural, "singular": plural + "x", "kind": kind, "listKind": kind + "List"}
	condition := func(t, reason, message string) map[string]any {
		return map[string]any{"type": t, "status": "True", "reason": reason, "message": message, "lastTransitionTime": "2026-01-01T00:00:00Z"}
	}
	name := plural + "." + group
	o := map[string]any{
		"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
		"metadata": map[string]any{"name": name, "uid": fmt.Sprint("uid-", i), "generation": 1, "creationTimestamp": "2026-01-01T00:00:00Z",
			"finalizers": []string{"customresourcecleanup.apiextensions.k8s.io"}},
		"spec": map[string]any{"group": group, "scope": "Namespaced", "names": names, "conversion": map[string]any{"strategy": "None"}, "versions": []any{map[string]any{
			"name": "v1", "served": true, "storage": true, "schema": map[string]any{"openAPIV3Schema": bigSchema(i)},
			"additionalPrinterColumns": []any{map[string]any{"name": "Count", "type": "integer", "jsonPath": ".spec.field001.count"}},
		}}},
		"status": map[string]any{"acceptedNames": names, "storedVersions": []string{"v1"}, "conditions": []any{
			condition("NamesAccepted", "NoConflicts", "no conflicts found"),
			condition("Established", "InitialNamesAccepted", "the initial names have been accepted"),
		}},
	}
	data, err := json.Marshal(o)
	if err != nil {
		panic(err)
	}
	return store.Key("customresourcedefinitions.apiextensions.k8s.io//" + name), data
}

func fill(t testing.TB, st *store.Store, n int) {
	t.Helper()
	var wg sync.WaitGroup
	slots := make(chan struct{}, 64)
	for i := range n {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			key, data := bigDefinition(i)
			if _, err := st.Write(context.Background(), store.Write{Key: key, Data: data, RevisionAt: -1}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

// start runs a controller and waits until it has registered what is stored.
func start(t testing.TB, st *store.Store) (*registry.Registry, func()) {
	t.Helper()
	reg := registry.New()
	c := customresources.New(customresources.Config{Store: st, Registry: reg})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = c.Run(ctx)
	}()
	for c.Synced(ctx) != nil {
		time.Sleep(100 * time.Microsecond)
	}
	return reg, func() { cancel(); <-done }
}

func heap() float64 {
	for range 3 {
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc) / (1 << 20)
}

// BenchmarkStart1000 is what 1,000 stored definitions, each with a schema of 10 KB, cost a
// server that starts: time until all are registered, and memory that stays.
func BenchmarkStart1000(b *testing.B) {
	st := storetest.Open(b)
	fill(b, st, 1000)
	for b.Loop() {
		before := heap()
		began := time.Now()
		reg, stop := start(b, st)
		b.ReportMetric(float64(time.Since(began).Microseconds())/1000, "ms/start")
		if n := len(reg.Snapshot().Groups); n != 20 {
			b.Fatalf("%d groups", n)
		}
		b.ReportMetric(heap()-before, "MiB")
		stop()
		runtime.KeepAlive(reg)
	}
}

// Types that nobody uses cost little, those that are used no more give back what they took.
func TestManyDefinitions(t *testing.T) {
	const n = 300
	st := storetest.Open(t)
	fill(t, st, n)
	before := heap()
	reg, stop := start(t, st)
	defer stop()
	if registered := heap() - before; registered > 6 {
		t.Errorf("%d definitions take %.1f MiB", n, registered)
	}
	for i := range n {
		gvr := runtimeschema.GroupVersionResource{Group: fmt.Sprintf("g%d.example.com", i%20), Version: "v1", Resource: fmt.Sprintf("things%04d", i)}
		typ, ok := reg.Lookup(gvr)
		if !ok {
			t.Fatalf("%s is not registered", gvr)
		}
		if i%3 != 0 {
			continue
		}
		if _, err := typ.Compiled(); err != nil {
			t.Fatal(err)
		}
	}
	if used := heap() - before; used > 12 {
		t.Errorf("%d definitions that have been used take %.1f MiB", n, used)
	}
	runtime.KeepAlive(reg)
}
