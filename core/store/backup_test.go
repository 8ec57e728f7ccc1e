package store_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/pintle-dev/pintle/core/store"
)

var quiet = slog.New(slog.DiscardHandler)

// streamed is the whole state as Backup streams it.
func streamed(t testing.TB, s *store.Store) ([]byte, uint64) {
	t.Helper()
	b, err := s.Backup()
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	var out bytes.Buffer
	if _, err := b.Stream(context.Background(), &out); err != nil {
		t.Fatal(err)
	}
	return out.Bytes(), b.Revision()
}

// contents of a stream: the value and the revision of each key.
func contents(t failer, stream []byte) (map[string]string, uint64) {
	t.Helper()
	got := map[string]string{}
	revision, err := store.ReadBackup(bytes.NewReader(stream), func(o store.Object) error {
		got[string(o.Key)] = fmt.Sprint(check(t, o.Data, o.Revision), "@", o.Revision)
		return nil
	})
	if err != nil {
		t.Fatalf("reading a stream: %v", err)
	}
	return got, revision
}

// listed is what a store has under the buckets that these tests write.
func listed(t failer, s *store.Store) map[string]string {
	t.Helper()
	got := map[string]string{}
	for _, bucket := range []store.Key{"pods/", "nodes/"} {
		snap, err := s.List(context.Background(), bucket, store.ListOptions{})
		if err != nil {
			t.Fatalf("list: %v", err)
		}
		for _, o := range snap.Objects {
			got[string(o.Key)] = fmt.Sprint(check(t, o.Data, o.Revision), "@", o.Revision)
		}
	}
	return got
}

// A backup is the state at one revision, though writes go on and old versions are let go while
// it is read slowly.
func TestBackupIsOneRevision(t *testing.T) {
	cfg := testConfig(t.TempDir())
	cfg.HistoryWindow, cfg.HistoryRevisions = 50*time.Millisecond, 100
	s := open(t, cfg)
	type change struct {
		revision   uint64
		key, value string
	}
	var changes []change
	at := func(revision uint64) map[string]string {
		state := map[string]string{}
		for _, c := range changes {
			if c.revision > revision {
				break
			}
			if state[c.key] = c.value; c.value == "" {
				delete(state, c.key)
			}
		}
		return state
	}
	rng := rand.New(rand.NewPCG(1, 2))
	noise := make([]byte, 3000)
	write := func() {
		key := fmt.Sprintf("pods/a/p%d", rng.IntN(200))
		if _, err := s.Get(context.Background(), store.Key(key)); err == nil && rng.IntN(10) == 0 {
			o, err := remove(s, key, store.Any)
			if err != nil {
				t.Error(err)
			}
			changes = append(changes, change{o.Revision, key, ""})
			return
		}
		for i := range noise {
			noise[i] = byte(rng.Uint32())
		}
		value := hex.EncodeToString(noise)
		o, err := put(s, key, value, store.Any)
		if err != nil {
			t.Error(err)
		}
		changes = append(changes, change{o.Revision, key, fmt.Sprint(value, "@", o.Revision)})
	}
	for range 400 {
		write()
	}
	b, err := s.Backup()
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	stop := make(chan struct{})
	var writing sync.WaitGroup
	writing.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				write()
			}
		}
	})
	// The stream is read when all that it reads is history that nobody else may read, and when
	// so much has been written that it would have been merged away.
	out, snapshot := new(bytes.Buffer), false
	_, err = b.Stream(context.Background(), &late{w: out, until: func() bool {
		if s.Horizon() <= b.Revision() {
			return false
		}
		if !snapshot {
			// What the newest snapshot needs stays in any case.
			if err := s.TakeSnapshot(); err != nil {
				t.Error(err)
			}
			snapshot = true
		}
		return s.Revision() > b.Revision()+5000
	}})
	close(stop)
	writing.Wait()
	if err != nil {
		t.Fatal(err)
	}
	got, revision := contents(t, out.Bytes())
	if want := at(revision); revision != b.Revision() || !maps.Equal(got, want) {
		t.Fatalf("the backup at revision %d (said: %d) has %d objects, the state then had %d", b.Revision(), revision, len(got), len(want))
	}
}

// late lets a first write go on when until says so.
type late struct {
	w     io.Writer
	until func() bool
}

func (l *late) Write(p []byte) (int, error) {
	for deadline := time.Now().Add(20 * time.Second); l.until != nil; time.Sleep(time.Millisecond) {
		if l.until() {
			l.until = nil
		} else if time.Now().After(deadline) {
			return 0, fmt.Errorf("nothing was let go")
		}
	}
	return l.w.Write(p)
}

// What is restored is what was there, at revisions that nobody has seen before.
func TestRestore(t *testing.T) {
	old := open(t, testConfig(t.TempDir()))
	for i := range 300 {
		mustPut(t, old, fmt.Sprintf("pods/a/p%d", i%50), fmt.Sprint(i))
		mustPut(t, old, fmt.Sprintf("nodes//n%d", i%7), fmt.Sprint(i))
	}
	if _, err := remove(old, "pods/a/p3", store.Any); err != nil {
		t.Fatal(err)
	}
	want := listed(t, old)
	stream, revision := streamed(t, old)

	dir := filepath.Join(t.TempDir(), "store")
	const raise = 1_000_000
	restored, err := store.Restore(context.Background(), dir, bytes.NewReader(stream), raise, quiet)
	if err != nil {
		t.Fatal(err)
	}
	if restored != (store.Restored{Revision: revision, Begins: revision + raise}) {
		t.Fatalf("restored %+v, the backup is at %d", restored, revision)
	}
	cfg := nodeConfig(t, 0)
	cfg.Dir, cfg.Bootstrap = dir, false
	if s, err := store.Open(context.Background(), cfg); err == nil {
		closeStore(t, s)
		t.Fatal("a restored store was opened by a server that waits for others")
	}
	cfg.Bootstrap = true
	for _, again := range []struct {
		name string
		do   func()
	}{
		{"at first", func() {}},
		{"again", func() {}},
		{"after a power failure", func() {
			if err := os.Remove(filepath.Join(dir, "RUN")); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		again.do()
		s := open(t, cfg)
		if got := listed(t, s); !maps.Equal(got, want) {
			t.Fatalf("%s: restored %v, want %v", again.name, got, want)
		}
		if s.Revision() < restored.Begins {
			t.Fatalf("%s: revision %d, restored at %d", again.name, s.Revision(), restored.Begins)
		}
		for _, before := range []uint64{2, revision, revision + 10, restored.Begins - 1} {
			_, err := s.Watch(context.Background(), "pods/", before)
			wantErr(t, fmt.Sprintf("%s: watch from revision %d", again.name, before), err, store.ErrCompacted)
			_, err = s.List(context.Background(), "pods/", store.ListOptions{Revision: before})
			wantErr(t, fmt.Sprintf("%s: list at revision %d", again.name, before), err, store.ErrCompacted)
		}
		// Guards of clients that knew objects hold.
		if _, err := put(s, "pods/a/p4", "new", store.Expectation(restored.Begins)); err == nil {
			t.Fatalf("%s: a guard was not looked at", again.name)
		}
		o := mustPut(t, s, "pods/a/p5", "new "+again.name)
		if o.Revision <= restored.Begins {
			t.Fatalf("%s: a write at revision %d", again.name, o.Revision)
		}
		want["pods/a/p5"] = fmt.Sprint("new ", again.name, "@", o.Revision)
		closeStore(t, s)
	}

	first := open(t, cfg)
	nodes := []*store.Store{first}
	for i := 1; i < 3; i++ {
		other := nodeConfig(t, i)
		s := open(t, other)
		join(t, leader(t, nodes[:1]), other.NodeID, s)
		nodes = append(nodes, s)
	}
	o := mustPut(t, leader(t, nodes[:1]), "pods/a/last", "1")
	want["pods/a/last"] = fmt.Sprint("1@", o.Revision)
	for i, s := range nodes {
		waitFor(t, s, o.Revision)
		if got := listed(t, s); !maps.Equal(got, want) {
			t.Errorf("server %d has %v, want %v", i, got, want)
		}
	}
}

func TestRestoreRefusesWhatIsThere(t *testing.T) {
	s := open(t, testConfig(t.TempDir()))
	mustPut(t, s, "pods/a/x", "1")
	stream, _ := streamed(t, s)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "x"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Restore(context.Background(), dir, bytes.NewReader(stream), 1, quiet); err == nil {
		t.Error("restored over something")
	}
	if _, err := store.Restore(context.Background(), filepath.Join(t.TempDir(), "s"), bytes.NewReader(stream), 1<<63, quiet); err == nil {
		t.Error("raised beyond what expectations can say")
	}
}

// A damaged stream is never taken for a whole one.
func TestDamagedStreamIsRefused(t *testing.T) {
	s := open(t, testConfig(t.TempDir()))
	for i := range 100 {
		mustPut(t, s, fmt.Sprintf("pods/a/p%d", i), fmt.Sprint(i))
	}
	stream, _ := streamed(t, s)
	rapid.Check(t, func(t *rapid.T) {
		bad := bytes.Clone(stream)
		if at := rapid.IntRange(0, len(bad)-1).Draw(t, "at"); rapid.Bool().Draw(t, "cut") {
			bad = bad[:at]
		} else {
			bad[at] ^= byte(1 << rapid.IntRange(0, 7).Draw(t, "bit"))
		}
		if _, err := store.ReadBackup(bytes.NewReader(bad), func(store.Object) error { return nil }); err == nil {
			t.Fatal("damage was not seen")
		}
	})
}

// Whoever does not read a backup on keeps no store from closing.
func TestStoreClosesDuringABackup(t *testing.T) {
	s := open(t, testConfig(t.TempDir()))
	for i := range 200 {
		mustPut(t, s, fmt.Sprintf("pods/a/p%d", i), fmt.Sprintf("%010000d", i))
	}
	b, err := s.Backup()
	if err != nil {
		t.Fatal(err)
	}
	r, w := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		_, err := b.Stream(context.Background(), w)
		ended <- err
	}()
	if _, err := r.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	closeStore(t, s)
	go func() { _, _ = io.Copy(io.Discard, r) }()
	wantErr(t, "the backup", <-ended, store.ErrClosed)
	b.Close()
	_, err = s.Backup()
	wantErr(t, "a backup of a closed store", err, store.ErrClosed)
}
