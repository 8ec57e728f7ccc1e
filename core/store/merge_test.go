package store

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing"
	"time"
)

func TestLeftovers(t *testing.T) {
	const mib = 1 << 20
	l := leftovers{}
	for i, step := range []struct {
		written           int64
		revision, horizon uint64
		want              bool
	}{
		{1 * mib, 10, 0, false},           // busy
		{80 * mib, 100, 0, false},         // busy
		{80*mib + 1000, 101, 50, false},   // quiet, but the history needs it
		{80*mib + 2000, 102, 99, false},   // as before
		{80*mib + 3000, 103, 100, true},   // ripe
		{80*mib + 4000, 104, 104, false},  // done
		{140 * mib, 200, 200, false},      // busy
		{140*mib + 1000, 201, 201, false}, // not much
		{150 * mib, 300, 300, false},      // busy
		{150*mib + 1000, 301, 300, true},
	} {
		if got := l.ripe(step.written, step.revision, step.horizon); got != step.want {
			t.Fatalf("step %d: %t, want %t", i, got, step.want)
		}
	}
}

// TestMergeLeavesWhatIsAlive: after a burst of updates and merging, the tables have little more
// than the live objects, and these are whole.
func TestMergeLeavesWhatIsAlive(t *testing.T) {
	ctx := context.Background()
	cfg := Config{Dir: t.TempDir(), Bootstrap: true, HistoryWindow: time.Second, MinFreeBytes: 1, Logger: slog.New(slog.DiscardHandler)}
	s, err := Open(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	const keys, size = 500, 8192
	var wg sync.WaitGroup
	for w := range 32 {
		wg.Go(func() {
			r, data := rand.NewChaCha8([32]byte{byte(w)}), make([]byte, size)
			for i := w; i < 20*keys; i += 32 {
				_, _ = r.Read(data)
				if _, err := s.Write(ctx, Write{Key: Key(fmt.Sprintf("pods/a/p%05d", i%keys)), Data: data, RevisionAt: -1, Expect: Any}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	last := s.Revision()
	deadline := time.Now().Add(30 * time.Second)
	for s.Horizon() < last {
		if time.Now().After(deadline) {
			t.Fatalf("the history still begins at %d of %d", s.Horizon(), last)
		}
		changed := s.reached.wait()
		select {
		case <-changed:
		case <-time.After(50 * time.Millisecond):
		}
	}
	s.merge()
	for s.merging.Load() && time.Now().Before(deadline) {
		time.Sleep(time.Millisecond) // nobody tells of it
	}
	if n, live := s.engine.TableBytes(), int64(keys*size); n > 5*live {
		t.Errorf("the tables have %d KiB for %d KiB of live objects", n>>10, live>>10)
	}
	n := 0
	_, err = s.rangeHistory(ctx, Snapshot{Revision: s.Revision()}, "pods/", ListOptions{}, func(Object) error { n++; return nil })
	if err != nil || n != keys {
		t.Fatalf("%d objects, want %d: %v", n, keys, err)
	}
}
