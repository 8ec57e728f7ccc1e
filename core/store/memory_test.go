package store_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime/debug"
	"strings"
	"sync"
	"testing"

	"github.com/pintle-dev/pintle/core/store"
)

// pss is this process' proportional share of memory in MiB.
func pss(tb testing.TB) float64 {
	tb.Helper()
	b, err := os.ReadFile("/proc/self/smaps_rollup")
	if err != nil {
		tb.Skip(err)
	}
	for line := range strings.Lines(string(b)) {
		var kib float64
		if n, _ := fmt.Sscanf(line, "Pss: %f", &kib); n == 1 {
			return kib / 1024
		}
	}
	tb.Skip("no Pss in smaps_rollup")
	return 0
}

// BenchmarkMemory writes 5,000 objects of 3 KiB, updates each three times and lists them.
// Run it with -benchtime 1x and alone: it measures the process.
func BenchmarkMemory(b *testing.B) {
	defer debug.SetGCPercent(debug.SetGCPercent(50))
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(100 << 20))
	s := open(b, testConfig(b.TempDir()))
	debug.FreeOSMemory()
	b.ReportMetric(pss(b), "idle-MiB")
	// Objects compress to about a third, as pods do.
	random := rand.New(rand.NewPCG(1, 2))
	pod := func() string {
		var v strings.Builder
		for v.Len() < 3000 {
			fmt.Fprintf(&v, "terminationMessagePath-%x-imagePullPolicy", random.Uint32())
		}
		return v.String()
	}
	var peak float64
	for range 4 {
		var wg sync.WaitGroup
		values := make([]string, 64)
		for i := range values {
			values[i] = pod()
		}
		for w := range 32 {
			wg.Go(func() {
				for i := w; i < 5000; i += 32 {
					mustPut(b, s, fmt.Sprintf("pods/ns/pod-%06d", i), values[i%64])
				}
			})
		}
		wg.Wait()
		peak = max(peak, pss(b))
	}
	if l, err := s.List(context.Background(), "pods/", store.ListOptions{}); err != nil || len(l.Objects) != 5000 {
		b.Fatal(err)
	}
	b.ReportMetric(peak, "peak-MiB")
	b.ReportMetric(pss(b), "end-MiB")
	debug.FreeOSMemory()
	b.ReportMetric(pss(b), "settled-MiB")
	st := s.Stats()
	b.ReportMetric(float64(st.CacheBytes)/(1<<20), "cache-MiB")
	b.ReportMetric(float64(st.EventBytes)/(1<<20), "events-MiB")
	b.ReportMetric(float64(st.DiskBytes)/(1<<20), "disk-MiB")
}
