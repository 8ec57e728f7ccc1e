package store_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/pintle-dev/pintle/core/store"
)

// cpu is what this process has used.
func cpu() time.Duration {
	var r syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &r)
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

func reportCPU(b *testing.B, before time.Duration) {
	b.ReportMetric(float64((cpu()-before).Microseconds())/float64(b.N), "cpu-µs/op")
}

// BenchmarkWrite updates 10,000 objects of 1 KiB, which are text as objects have it or random
// bytes, on /var/tmp if there is one: a tmpfs measures nothing.
func BenchmarkWrite(b *testing.B) {
	for _, kind := range []string{"text", "random"} {
		for _, workers := range []int{1, 32, 256} {
			b.Run(fmt.Sprintf("%s/inflight=%d", kind, workers), func(b *testing.B) {
				dir, err := os.MkdirTemp("/var/tmp", "bench-write-")
				if err != nil {
					dir = b.TempDir()
				}
				defer os.RemoveAll(dir)
				benchmarkWrite(b, dir, kind, workers)
			})
		}
	}
}

func benchmarkWrite(b *testing.B, dir, kind string, workers int) {
	s := open(b, testConfig(dir))
	defer s.Close()
	var n atomic.Int64
	var wg sync.WaitGroup
	b.ReportAllocs()
	b.ResetTimer()
	before := cpu()
	for w := range workers {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(w), 1))
			data, at := document(strings.Repeat("imagePullPolicy", 66))
			for {
				i := n.Add(1)
				if i > int64(b.N) {
					return
				}
				if kind == "random" {
					for j := 40; j+8 < len(data); j += 8 {
						binary.LittleEndian.PutUint64(data[j:], r.Uint64())
					}
				}
				key := store.Key(fmt.Sprintf("pods/default/pod-%06d", i%10_000))
				if _, err := s.Write(context.Background(), store.Write{Key: key, Data: data, RevisionAt: at, Expect: store.Any}); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	reportCPU(b, before)
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "writes/s")
}

func fill(b *testing.B, s *store.Store, n int) {
	b.Helper()
	var wg sync.WaitGroup
	for w := range 64 {
		wg.Go(func() {
			for i := w; i < n; i += 64 {
				mustPut(b, s, fmt.Sprintf("pods/ns/pod-%06d", i), strings.Repeat("x", 3000))
			}
		})
	}
	wg.Wait()
}

func BenchmarkGet(b *testing.B) {
	s := open(b, testConfig(b.TempDir()))
	fill(b, s, 5000)
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		if _, err := s.Get(context.Background(), store.Key(fmt.Sprintf("pods/ns/pod-%06d", i%5000))); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkList5000(b *testing.B) {
	for _, cache := range []int64{1, 64 << 20} {
		b.Run(fmt.Sprintf("cache=%d", cache), func(b *testing.B) {
			cfg := testConfig(b.TempDir())
			cfg.CacheBytes = cache
			s := open(b, cfg)
			fill(b, s, 5000)
			b.ReportAllocs()
			b.ResetTimer()
			for range b.N {
				l, err := s.List(context.Background(), "pods/", store.ListOptions{})
				if err != nil || len(l.Objects) != 5000 {
					b.Fatal(len(l.Objects), err)
				}
			}
		})
	}
}

// BenchmarkWatch100 is one write seen by a hundred watchers.
func BenchmarkWatch100(b *testing.B) {
	s := open(b, testConfig(b.TempDir()))
	var wg sync.WaitGroup
	for range 100 {
		w, err := s.Watch(context.Background(), "pods/", s.Revision())
		if err != nil {
			b.Fatal(err)
		}
		wg.Go(func() {
			defer w.Close()
			for seen := 0; seen < b.N; {
				evs, err := w.Next(context.Background())
				if err != nil {
					b.Error(err)
					return
				}
				seen += len(evs)
			}
		})
	}
	b.ResetTimer()
	before := cpu()
	fill(b, s, b.N)
	wg.Wait()
	reportCPU(b, before)
	b.ReportMetric(100*float64(b.N)/b.Elapsed().Seconds(), "events/s")
}
