package store_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pintle-dev/pintle/core/store"
)

// spoil flips a bit in the middle of a file, or of the newest one that a pattern matches.
func spoil(t testing.TB, dir, pattern string, at func(size int) int) {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil || len(found) == 0 {
		t.Fatalf("%s: nothing there: %v", pattern, err)
	}
	path := found[len(found)-1]
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[at(len(strings.TrimRight(string(b), "\x00")))] ^= 4
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func middle(n int) int { return n / 2 }

// TestDamagedServerIsFilledByTheOthers damages one of three in all places.
func TestDamagedServerIsFilledByTheOthers(t *testing.T) {
	for name, do := range map[string]func(t *testing.T, dir string){
		"a table":      func(t *testing.T, dir string) { spoil(t, dir, "state-*/*.sst", middle) },
		"the manifest": func(t *testing.T, dir string) { spoil(t, dir, "state-*/MANIFEST", middle) },
		"the snapshot": func(t *testing.T, dir string) { spoil(t, dir, "snapshots/*.json", middle) },
		"CURRENT":      func(t *testing.T, dir string) { spoil(t, dir, "CURRENT", middle) },
		"FORMAT":       func(t *testing.T, dir string) { spoil(t, dir, "FORMAT", middle) },
		"the log":      func(t *testing.T, dir string) { spoil(t, dir, "raft/*.wal", middle) },
		"the log's end": func(t *testing.T, dir string) {
			spoil(t, dir, "raft/*.wal", func(n int) int { return n - 1 })
		},
		"log and state": func(t *testing.T, dir string) {
			spoil(t, dir, "raft/*.wal", middle)
			spoil(t, dir, "state-*/*.sst", middle)
		},
	} {
		t.Run(name, func(t *testing.T) {
			var configs []store.Config
			nodes := cluster(t, 3, func(c *store.Config) {
				c.HeartbeatTimeout = 2 * time.Second // A busy machine is not to change the leader.
				configs = append(configs, *c)
			})
			lead := leader(t, nodes)
			for i := range 200 {
				mustPut(t, lead, fmt.Sprintf("pods/a/p%03d", i), fmt.Sprint("before ", i))
			}
			at := 0
			for nodes[at] == lead {
				at++
			}
			waitFor(t, nodes[at], lead.Revision())
			if err := nodes[at].TakeSnapshot(); err != nil {
				t.Fatal(err)
			}
			for i := range 20 {
				mustPut(t, lead, fmt.Sprintf("pods/a/p%03d", i), fmt.Sprint("behind the snapshot ", i))
			}
			waitFor(t, nodes[at], lead.Revision())
			configs[at].Address = nodes[at].Address()
			closeStore(t, nodes[at])
			do(t, configs[at].Dir)
			for i := range 100 {
				mustPut(t, lead, fmt.Sprintf("pods/a/p%03d", i), fmt.Sprint("after ", i))
			}
			s := open(t, configs[at])
			waitFor(t, s, lead.Revision())
			for i := range 200 {
				want := fmt.Sprint("before ", i)
				if i < 100 {
					want = fmt.Sprint("after ", i)
				}
				if o, err := s.Get(context.Background(), store.Key(fmt.Sprintf("pods/a/p%03d", i))); err != nil || check(t, o.Data, o.Revision) != want {
					t.Fatalf("pod %d: %q, %v", i, o.Data, err)
				}
			}
			if found, _ := filepath.Glob(filepath.Join(configs[at].Dir, "damaged-*")); len(found) != 1 {
				t.Fatalf("what was damaged is in %v", found)
			}
			// It goes on as any other, and starts as any other.
			mustPut(t, lead, "pods/a/last", "1")
			waitFor(t, s, lead.Revision())
			closeStore(t, s)
			s = open(t, configs[at])
			waitFor(t, s, lead.Revision())
		})
	}
}

// TestDamageAlone: a server without others makes its state again from a log that is complete,
// and refuses otherwise, changing nothing.
func TestDamageAlone(t *testing.T) {
	t.Run("complete log", func(t *testing.T) {
		dir := t.TempDir()
		s := open(t, testConfig(dir))
		mustPut(t, s, "pods/a/x", "1")
		closeStore(t, s)
		spoil(t, dir, "state-*/*.sst", middle)
		s = open(t, testConfig(dir))
		if o, err := s.Get(context.Background(), "pods/a/x"); err != nil || check(t, o.Data, o.Revision) != "1" {
			t.Fatalf("after replaying: %v", err)
		}
	})
	t.Run("log that was cut", func(t *testing.T) {
		dir := t.TempDir()
		cfg := testConfig(dir)
		cfg.TrailingEntries = 1
		s := open(t, cfg)
		for i := range 20 {
			mustPut(t, s, fmt.Sprint("pods/a/x", i), "1")
		}
		if err := s.TakeSnapshot(); err != nil {
			t.Fatal(err)
		}
		closeStore(t, s)
		spoil(t, dir, "state-*/*.sst", middle)
		for range 2 {
			_, err := store.Open(context.Background(), cfg)
			wantErr(t, "a damaged state", err, store.ErrDamaged)
			for _, want := range []string{".sst", "backup"} {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("the error does not say %q: %v", want, err)
				}
			}
		}
		if found, _ := filepath.Glob(filepath.Join(dir, "damaged-*")); len(found) > 0 {
			t.Fatalf("something was set aside: %v", found)
		}
	})
	t.Run("Raft's variables", func(t *testing.T) {
		dir := t.TempDir()
		s := open(t, testConfig(dir))
		mustPut(t, s, "pods/a/x", "1")
		closeStore(t, s)
		// One copy is made again from the other.
		for _, name := range []string{"meta-0", "meta-1"} {
			spoil(t, dir, "raft/"+name, middle)
			closeStore(t, open(t, testConfig(dir)))
		}
		spoil(t, dir, "raft/meta-0", middle)
		spoil(t, dir, "raft/meta-1", middle)
		_, err := store.Open(context.Background(), testConfig(dir))
		wantErr(t, "both copies damaged", err, store.ErrDamaged)
		if !strings.Contains(err.Error(), "vote twice") {
			t.Errorf("the error does not say why: %v", err)
		}
	})
}

// TestTornLog ends the log in the middle of a batch, as a crash does: that was never
// acknowledged. It is cut off, and what is written in its place is there after the next starts.
func TestTornLog(t *testing.T) {
	dir := t.TempDir()
	acked, data := map[string]uint64{}, map[string]string{}
	killWriter(t, dir, 500, acked, data)
	segments, err := filepath.Glob(filepath.Join(dir, "raft", "*.wal"))
	if err != nil || len(segments) == 0 {
		t.Fatal(segments, err)
	}
	path := segments[len(segments)-1]
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	used := (len(strings.TrimRight(string(b), "\x00")) + 7) &^ 7
	// The head of an entry of 4,000 bytes, and a part of them.
	torn := append([]byte{1, 0, 0, 0, 0xa0, 0x0f, 0, 0}, []byte(strings.Repeat("torn", 200))...)
	copy(b[used:], torn)
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		s := open(t, crashConfig(dir))
		for key, revision := range acked {
			if o, err := s.Get(context.Background(), store.Key(key)); err != nil || o.Revision < revision {
				t.Fatalf("%s was acknowledged at %d; now %d, %v", key, revision, o.Revision, err)
			}
		}
		for j := range 50 {
			key := fmt.Sprintf("pods/start%d/p%d", i, j)
			acked[key] = mustPut(t, s, key, "1").Revision
		}
		closeStore(t, s)
	}
}

// TestLostEndOfTheLogIsNoticed takes the newest entries away that the state has applied: the
// next ones would get their places, and be taken for them.
func TestLostEndOfTheLogIsNoticed(t *testing.T) {
	dir := t.TempDir()
	killWriter(t, dir, 500, map[string]uint64{}, map[string]string{})
	segments, _ := filepath.Glob(filepath.Join(dir, "raft", "*.wal"))
	path := segments[len(segments)-1]
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	used := len(strings.TrimRight(string(b), "\x00"))
	clear(b[max(40, used-40_000):])
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := store.Open(context.Background(), crashConfig(dir))
	if err == nil {
		closeStore(t, s)
		t.Fatal("nobody has noticed")
	}
	if !errors.Is(err, store.ErrDamaged) {
		t.Fatal(err)
	}
}
