package store_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pintle-dev/pintle/core/store"
)

const transactingEnv = "PINTLE_STORE_TEST_TRANSACTS"

// group is what one transaction of the tests writes: objects of several buckets with one
// value. While a value ends in "0" the last one is absent.
var group = []string{"pods/%s/a", "nodes//%s", "pods/%s/b", "leases/%s/c", "claims/%s/d"}

func groupKeys(name string) []store.Key {
	keys := make([]store.Key, len(group))
	for i, g := range group {
		keys[i] = store.Key(fmt.Sprintf(g, name))
	}
	return keys
}

func gone(value string) bool { return strings.HasSuffix(value, "0") }

// transact writes a group.
func transact(s *store.Store, name, value string, had bool) ([]store.Object, error) {
	var writes []store.Write
	keys := groupKeys(name)
	for i, k := range keys {
		w := store.Write{Key: k, Expect: store.Any}
		if i == len(keys)-1 && gone(value) {
			if !had {
				continue
			}
			w.Delete = true
		} else {
			w.Data, w.RevisionAt = document(value)
		}
		writes = append(writes, w)
	}
	return s.Transact(context.Background(), writes)
}

// checkGroup fails where the objects do not come from one transaction, and returns its value.
func checkGroup(t failer, found map[store.Key]store.Object, name string) string {
	t.Helper()
	keys := groupKeys(name)
	value, first := "", uint64(0)
	for i, k := range keys {
		o, ok := found[k]
		if i == 0 {
			if !ok {
				if len(found) > 0 {
					t.Fatalf("group %s has lost %s: %v", name, k, found)
				}
				return ""
			}
			value, first = check(t, o.Data, o.Revision), o.Revision
			continue
		}
		if i == len(keys)-1 && gone(value) {
			if ok {
				t.Fatalf("group %s at %q has %s of %q", name, value, k, check(t, o.Data, o.Revision))
			}
			continue
		}
		if !ok {
			t.Fatalf("group %s at %q has no %s", name, value, k)
		}
		if v := check(t, o.Data, o.Revision); v != value || o.Revision != first+uint64(i) {
			t.Fatalf("group %s at %q from revision %d: %s is %q at %d", name, value, first, k, v, o.Revision)
		}
	}
	return value
}

// listGroups reads all groups at one revision.
func listGroups(t failer, s *store.Store, revision uint64) (map[string]map[store.Key]store.Object, uint64, error) {
	groups := map[string]map[store.Key]store.Object{}
	for _, prefix := range []store.Key{"pods/", "nodes/", "leases/", "claims/"} {
		l, err := s.List(context.Background(), prefix, store.ListOptions{Revision: revision})
		if err != nil {
			return nil, 0, err
		}
		if revision != 0 && l.Revision < revision {
			t.Fatalf("list at %d is of %d", revision, l.Revision)
		}
		revision = l.Revision
		for _, o := range l.Objects {
			parts := strings.Split(string(o.Key), "/")
			name := parts[1]
			if name == "" {
				name = parts[2]
			}
			if groups[name] == nil {
				groups[name] = map[store.Key]store.Object{}
			}
			groups[name][o.Key] = o
		}
	}
	return groups, revision, nil
}

// TestNobodySeesPartOfATransaction reads in all ways while transactions are written.
func TestNobodySeesPartOfATransaction(t *testing.T) {
	for name, cache := range map[string]int64{"in memory": 1 << 20, "on disk": 1} {
		t.Run(name, func(t *testing.T) {
			cfg := testConfig(t.TempDir())
			cfg.CacheBytes, cfg.EventBytes = cache, cache
			s := open(t, cfg)
			const writers, rounds = 3, 25
			var wg, readers sync.WaitGroup
			var done atomic.Bool
			for w := range writers {
				wg.Go(func() {
					for i := range rounds {
						if _, err := transact(s, fmt.Sprint("g", w), fmt.Sprint(i), i > 0 && !gone(fmt.Sprint(i-1))); err != nil {
							t.Error(err)
							return
						}
					}
				})
			}
			lists := 0
			readers.Go(func() {
				for last := uint64(1); !done.Load(); lists++ {
					groups, revision, err := listGroups(t, s, 0)
					if err != nil || revision < last {
						t.Errorf("list at %d after one at %d: %v", revision, last, err)
						return
					}
					for g, found := range groups {
						checkGroup(t, found, g)
					}
					last = revision
				}
			})
			readers.Go(func() { // What one object shows, all of its group show.
				for !done.Load() {
					keys := groupKeys("g0")
					o, err := s.Get(context.Background(), keys[0])
					if errors.Is(err, store.ErrNotFound) {
						continue
					}
					other, otherErr := s.Get(context.Background(), keys[3])
					if err != nil || otherErr != nil || other.Revision < o.Revision+3 {
						t.Errorf("%s at %d (%v), then %s at %d (%v)", keys[0], o.Revision, err, keys[3], other.Revision, otherErr)
						return
					}
				}
			})
			wg.Wait()
			done.Store(true)
			readers.Wait()
			if lists < 2 {
				t.Fatal("nobody has read")
			}
			// All of the past, revision by revision.
			for revision := uint64(2); revision <= s.Revision(); revision++ {
				groups, at, err := listGroups(t, s, revision)
				if err != nil || at > revision+4 {
					t.Fatalf("list at %d is of %d: %v", revision, at, err)
				}
				for g, found := range groups {
					checkGroup(t, found, g)
				}
			}
			watched(t, s, writers*rounds)
		})
	}
}

// watched checks that a watcher gets every change of every transaction, from a revision in the
// midst of one too.
func watched(t *testing.T, s *store.Store, transactions int) {
	newest := s.Revision()
	for _, after := range []uint64{1, 3, newest / 2, newest - 1} {
		seen := map[uint64]bool{}
		for _, prefix := range []store.Key{"pods/", "nodes/", "leases/", "claims/"} {
			w, err := s.Watch(context.Background(), prefix, after)
			if err != nil {
				t.Fatal(err)
			}
			for last := after; ; {
				events, err := w.Poll(context.Background())
				if err != nil {
					t.Fatal(err)
				}
				if len(events) == 0 {
					break
				}
				for _, ev := range events {
					if ev.Revision <= last || seen[ev.Revision] {
						t.Fatalf("event %s after revision %d", describe(ev), last)
					}
					last, seen[ev.Revision] = ev.Revision, true
				}
			}
			w.Close()
		}
		if len(seen) != int(newest-after) {
			t.Fatalf("%d events after %d of %d, in %d transactions", len(seen), after, newest, transactions)
		}
	}
}

func TestRefusedTransactionsChangeNothing(t *testing.T) {
	s := open(t, testConfig(t.TempDir()))
	x := mustPut(t, s, "pods/a/x", "1")
	mustPut(t, s, "pods/a/x", "2")
	before := s.Revision()
	data, at := document("new")
	write := func(key string, expect store.Expectation) store.Write {
		return store.Write{Key: store.Key(key), Data: data, RevisionAt: at, Expect: expect}
	}
	_, err := s.Transact(context.Background(), []store.Write{
		write("pods/a/new", store.MustNotExist),
		write("pods/a/x", store.MustNotExist),
		write("pods/a/y", 7),
		{Key: "pods/a/z", Delete: true, Expect: store.Any},
		{Key: "pods/b/x", Check: true, Expect: 5},
	})
	var refused *store.Refused
	if !errors.As(err, &refused) {
		t.Fatal(err)
	}
	for i, want := range []error{store.ErrWithheld, store.ErrExists, store.ErrNotFound, store.ErrNotFound, store.ErrNotFound} {
		wantErr(t, fmt.Sprint("write ", i), refused.Errors[i], want)
	}
	if s.Revision() != before {
		t.Fatalf("revision %d, was %d", s.Revision(), before)
	}
	if _, err := s.Get(context.Background(), "pods/a/new"); !errors.Is(err, store.ErrNotFound) {
		t.Fatal(err)
	}
	for name, writes := range map[string][]store.Write{
		"twice":         {write("pods/a/q", store.Any), write("pods/a/q", store.Any)},
		"empty check":   {{Key: "pods/a/x", Check: true, Expect: store.Any}},
		"writing check": {{Key: "pods/a/x", Check: true, Data: data, Expect: 5}},
		"bad key":       {write("pods", store.Any)},
		"too many":      make([]store.Write, store.MaxTransactionWrites+1),
		"too large":     {{Key: "pods/a/1", Data: make([]byte, 5<<20), RevisionAt: -1}, {Key: "pods/a/2", Data: make([]byte, 5<<20), RevisionAt: -1}},
	} {
		if o, err := s.Transact(context.Background(), writes); err == nil || s.Revision() != before {
			t.Errorf("%s: %v, %v", name, o, err)
		}
	}
	// A check of what is there holds and writes nothing.
	got, err := s.Transact(context.Background(), []store.Write{
		{Key: "pods/a/x", Check: true, Expect: store.Expectation(x.Revision + 1)},
		{Key: "pods/a/none", Check: true, Expect: store.MustNotExist}, write("pods/a/new", store.MustNotExist)})
	if err != nil || got[0].Revision != x.Revision+1 || got[0].Data != nil || got[2].Revision != before+1 {
		t.Fatalf("%+v, %v", got, err)
	}
	if _, err := s.Write(context.Background(), store.Write{Key: "pods/a/x", Check: true, Expect: 5}); err == nil {
		t.Error("a write alone checks")
	}
}

// TestSpansGoWithTheHorizon: what is kept of transactions does not grow forever.
func TestSpansGoWithTheHorizon(t *testing.T) {
	cfg := testConfig(t.TempDir())
	cfg.HistoryWindow = 100 * time.Millisecond
	s := open(t, cfg)
	o, err := transact(s, "g", "1", false)
	if err != nil {
		t.Fatal(err)
	}
	inside := o[1].Revision
	if _, at, err := listGroups(t, s, inside); err != nil || at != o[len(o)-1].Revision {
		t.Fatalf("list inside is at %d: %v", at, err)
	}
	deadline := time.Now().Add(20 * time.Second)
	for i := 0; s.Horizon() <= o[len(o)-1].Revision; i++ {
		if time.Now().After(deadline) {
			t.Fatalf("the horizon stays at %d", s.Horizon())
		}
		mustPut(t, s, "pods/z/z", fmt.Sprint(i))
	}
	_, _, err = listGroups(t, s, inside)
	wantErr(t, "list behind the horizon", err, store.ErrCompacted)
}

// transactForever is a process that is going to be killed.
func transactForever(dir string) {
	s, err := store.Open(context.Background(), crashConfig(dir))
	if err != nil {
		fmt.Println("failed:", err)
		os.Exit(1)
	}
	lines := make(chan string)
	for w := range 8 {
		go func() {
			name := fmt.Sprint("w", w)
			_, err := s.Get(context.Background(), groupKeys(name)[len(group)-1])
			had := err == nil
			for {
				value := fmt.Sprint(s.Revision())
				o, err := transact(s, name, value, had)
				if err != nil {
					fmt.Println("failed:", err)
					os.Exit(1)
				}
				had = !gone(value)
				lines <- fmt.Sprintf("%s %d .", name, o[0].Revision)
			}
		}()
	}
	for l := range lines {
		fmt.Println(l)
	}
}

// TestKilledProcessLeavesNoPart kills a process that writes transactions.
func TestKilledProcessLeavesNoPart(t *testing.T) {
	for _, trusted := range []bool{true, false} {
		t.Run(fmt.Sprint("trusted=", trusted), func(t *testing.T) {
			dir, acked := t.TempDir(), map[string]uint64{}
			for range 2 {
				killTransacting(t, dir, 300, acked)
				if !trusted {
					if err := os.Remove(filepath.Join(dir, "RUN")); err != nil {
						t.Fatal(err)
					}
				}
				s := open(t, crashConfig(dir))
				groups, _, err := listGroups(t, s, 0)
				if err != nil || len(groups) != 8 {
					t.Fatalf("%d groups: %v", len(groups), err)
				}
				for g, found := range groups {
					checkGroup(t, found, g)
					if got := found[groupKeys(g)[0]].Revision; got < acked[g] {
						t.Fatalf("group %s was acknowledged at %d and is at %d", g, acked[g], got)
					}
				}
				for revision := s.Horizon() + 1; revision <= s.Revision(); revision++ {
					groups, _, err := listGroups(t, s, revision)
					if errors.Is(err, store.ErrCompacted) {
						continue
					}
					if err != nil {
						t.Fatal(err)
					}
					for g, found := range groups {
						checkGroup(t, found, g)
					}
				}
				closeStore(t, s)
			}
		})
	}
}

func killTransacting(t *testing.T, dir string, n int, acked map[string]uint64) {
	t.Helper()
	killChild(t, transactingEnv+"="+dir, n, func(line string) error {
		var name, end string
		var revision uint64
		if _, err := fmt.Sscan(line, &name, &revision, &end); err != nil {
			return err
		}
		acked[name] = max(acked[name], revision)
		return nil
	})
}
