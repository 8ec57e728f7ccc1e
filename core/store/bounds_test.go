package store_test

import (
	"context"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/pintle-dev/pintle/core/store"
)

// bytesIn is the size of all files in a directory.
func bytesIn(t *testing.T, dir string) (n int64) {
	t.Helper()
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			if fi, err := d.Info(); err == nil {
				n += fi.Size()
			}
		}
		return nil
	})
	return n
}

// TestMemoryAndLogAreBounded writes many times what the bounds allow, in small and in large
// objects that do not compress.
func TestMemoryAndLogAreBounded(t *testing.T) {
	for name, tc := range map[string]struct{ size, writes, keys int }{
		"1 KiB":  {1 << 10, 60_000, 5000},
		"64 KiB": {64 << 10, 1800, 500},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := testConfig(t.TempDir())
			cfg.CacheBytes, cfg.EventBytes, cfg.LogBytes = 8<<20, 4<<20, 32<<20
			s := open(t, cfg)
			// What the state of the test itself takes is not counted.
			runtime.GC()
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			var wg sync.WaitGroup
			for w := range 32 {
				wg.Go(func() {
					r := rand.NewChaCha8([32]byte{byte(w)})
					data := make([]byte, tc.size)
					for i := w; i < tc.writes; i += 32 {
						_, _ = r.Read(data)
						key := store.Key(fmt.Sprintf("pods/a/p%05d", i%tc.keys))
						if _, err := s.Write(context.Background(), store.Write{Key: key, Data: data, RevisionAt: -1, Expect: store.Any}); err != nil {
							t.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			runtime.GC()
			runtime.ReadMemStats(&after)
			st := s.Stats()
			used := int64(after.HeapAlloc) - int64(before.HeapAlloc)
			t.Logf("%d MiB in objects and %d MiB in events, heap grown by %d MiB", st.CacheBytes>>20, st.EventBytes>>20, used>>20)
			// What DESIGN.md promises: the two budgets, keys, memtables, builders, entries on their way.
			if bound := cfg.CacheBytes + cfg.EventBytes + int64(tc.keys)*250 + 24<<20; used > bound {
				t.Errorf("the heap has grown by %d MiB, more than %d", used>>20, bound>>20)
			}
			if st.CacheBytes > cfg.CacheBytes || st.EventBytes > cfg.EventBytes {
				t.Errorf("objects use %d and events %d bytes", st.CacheBytes, st.EventBytes)
			}
			// The log is cut once a second, to its bound and two segments, one of them ready.
			deadline, bound := time.Now().Add(20*time.Second), cfg.LogBytes+3*16<<20
			for log := filepath.Join(cfg.Dir, "raft"); ; {
				n := bytesIn(t, log)
				if n <= bound {
					break
				}
				if time.Now().After(deadline) {
					t.Fatalf("the log has %d MiB, more than %d", n>>20, bound>>20)
				}
				mustPut(t, s, "pods/a/tick", "1")
			}
		})
	}
}

// TestHistoryIsBoundedByBytes writes more than HistoryBytes: the horizon follows.
func TestHistoryIsBoundedByBytes(t *testing.T) {
	cfg := testConfig(t.TempDir())
	cfg.HistoryBytes, cfg.HistoryWindow = 1<<20, time.Hour
	s := open(t, cfg)
	first := s.Revision()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	r, data := rand.NewChaCha8([32]byte{}), make([]byte, 10<<10)
	for s.Horizon() <= first {
		if ctx.Err() != nil {
			t.Fatalf("the history still begins at %d, after %d revisions of 10 KiB", s.Horizon(), s.Revision())
		}
		_, _ = r.Read(data)
		if _, err := s.Write(ctx, store.Write{Key: "pods/a/x", Data: data, RevisionAt: -1, Expect: store.Any}); err != nil {
			t.Fatal(err)
		}
	}
}
