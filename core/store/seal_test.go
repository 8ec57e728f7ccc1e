package store_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/pintle-dev/pintle/core/store"
)

// turner is a sealer that turns bits over: enough to tell sealed from open. Without its key it
// opens nothing.
type turner struct {
	mu      sync.Mutex
	bucket  string
	lost    bool
	learned map[store.Key]string
}

var errLost = errors.New("the key is lost")

func (s *turner) lose(lost bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lost = lost
}

func (s *turner) seals(bucket string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bucket = bucket
}

func (s *turner) Seals(bucket string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return bucket == s.bucket
}

func (s *turner) Seal(_ context.Context, key store.Key, at int, data []byte) ([]byte, error) {
	return append(turn(data), byte(len(key)+at)), nil
}

func (s *turner) Open(key store.Key, at int, envelope []byte) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(envelope) - 1
	if s.lost || n < 0 || envelope[n] != byte(len(key)+at) {
		return nil, errLost
	}
	return turn(envelope[:n]), nil
}

func (s *turner) Learn(key store.Key, record []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.learned == nil {
		s.learned = map[store.Key]string{}
	}
	s.learned[key] = string(record)
}

func (s *turner) Loaded(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.learned[store.KeyBucket+"//bad"] != "" {
		return errLost
	}
	return nil
}

func (s *turner) knows(key store.Key) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.learned[key]
}

func turn(b []byte) []byte {
	out := make([]byte, len(b), len(b)+1)
	for i := range b {
		out[i] = ^b[i]
	}
	return out
}

// marker is text that no compression hides.
func marker(t testing.TB) string {
	t.Helper()
	b := make([]byte, 32)
	if _, err := rand.Read(b); err != nil {
		t.Fatal(err)
	}
	return "secret-" + hex.EncodeToString(b)
}

// filesWith lists the files below dir that have text in them.
func filesWith(t testing.TB, dir, text string) []string {
	t.Helper()
	var found []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		if err == nil && bytes.Contains(b, []byte(text)) {
			found = append(found, filepath.Base(path))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestSealedObjectsAreOpenInMemoryAndNowhereElse(t *testing.T) {
	seal := &turner{bucket: "secrets"}
	cfg := testConfig(t.TempDir())
	cfg.Sealer, cfg.SnapshotEntries, cfg.CacheBytes = seal, 1, 1 // little memory: reads go to the disk
	s := open(t, cfg)
	ctx := context.Background()
	hidden, shown := marker(t), marker(t)
	w, err := s.Watch(ctx, "secrets/", s.Revision())
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	first := mustPut(t, s, "secrets/a/x", hidden)
	if check(t, first.Data, first.Revision) != hidden {
		t.Errorf("answer: %s", first.Data)
	}
	second := mustPut(t, s, "secrets/a/x", hidden+"2")
	mustPut(t, s, "pods/a/x", shown)
	data, at := document(hidden + "3")
	objects, err := s.Transact(ctx, []store.Write{
		{Key: "secrets/a/y", Data: data, RevisionAt: at}, {Key: "pods/a/y", Data: data[:0:0], RevisionAt: -1},
	})
	if err != nil || check(t, objects[0].Data, objects[0].Revision) != hidden+"3" {
		t.Fatalf("transaction: %+v, %v", objects, err)
	}
	gone, err := remove(s, "secrets/a/x", store.Any)
	if err != nil || check(t, gone.Data, gone.Revision) != hidden+"2" {
		t.Fatalf("deletion: %s, %v", gone.Data, err)
	}
	events := next(t, w, 4)
	for i, want := range []string{hidden, hidden + "2", hidden + "3", hidden + "2"} {
		if got := check(t, events[i].Data, events[i].Revision); got != want {
			t.Errorf("event %d: %s", i, got)
		}
	}
	if check(t, events[3].Prev, second.Revision) != hidden+"2" {
		t.Errorf("state before: %s", events[3].Prev)
	}
	if err := s.TakeSnapshot(); err != nil {
		t.Fatal(err)
	}
	read := func(s *store.Store) {
		t.Helper()
		o, err := s.Get(ctx, "secrets/a/y")
		if err != nil || check(t, o.Data, o.Revision) != hidden+"3" {
			t.Errorf("get: %s, %v", o.Data, err)
		}
		old, err := s.List(ctx, "secrets/", store.ListOptions{Revision: second.Revision})
		if err != nil || len(old.Objects) != 1 || check(t, old.Objects[0].Data, second.Revision) != hidden+"2" {
			t.Errorf("list of the past: %+v, %v", old, err)
		}
		h, err := s.History(ctx, "secrets/a/x", 0)
		if err != nil || len(h.Changes) != 3 || check(t, h.Changes[0].Data, first.Revision) != hidden {
			t.Errorf("history: %+v, %v", h, err)
		}
	}
	read(s)
	var backup bytes.Buffer
	b, err := s.Backup()
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if _, err := b.Stream(ctx, &backup); err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(backup.Bytes(), []byte(hidden)) || !bytes.Contains(backup.Bytes(), []byte(shown)) {
		t.Error("a backup has the wrong ones open")
	}
	b.Close()
	closeStore(t, s)
	if files := filesWith(t, cfg.Dir, hidden); len(files) > 0 {
		t.Errorf("it stands open in %v", files)
	}
	if len(filesWith(t, cfg.Dir, shown)) == 0 {
		t.Error("the search finds nothing")
	}
	read(open(t, cfg))
}

func TestWhatCannotBeOpenedIsSaidAndHoldsUpNothing(t *testing.T) {
	for name, cache := range map[string]int64{"in memory": 0, "on disk": 1} {
		t.Run(name, func(t *testing.T) {
			seal := &turner{bucket: "secrets"}
			cfg := testConfig(t.TempDir())
			cfg.Sealer, cfg.CacheBytes = seal, cache
			s := open(t, cfg)
			ctx := context.Background()
			start := s.Revision()
			mustPut(t, s, "secrets/a/x", "one")
			mustPut(t, s, "secrets/a/y", "two")
			mustPut(t, s, "secrets/a/z", "three")
			closeStore(t, s)
			seal.lose(true)
			s = open(t, cfg)
			sealedErr := func(what string, err error) {
				t.Helper()
				if !errors.Is(err, store.ErrSealed) || !errors.Is(err, errLost) || !strings.Contains(err.Error(), "secrets/a/x") {
					t.Errorf("%s: %v", what, err)
				}
			}
			_, err := s.Get(ctx, "secrets/a/x")
			sealedErr("get", err)
			_, err = s.List(ctx, "secrets/", store.ListOptions{})
			sealedErr("list", err)
			w, err := s.Watch(ctx, "secrets/", start)
			if err != nil {
				t.Fatal(err)
			}
			defer w.Close()
			_, err = w.Poll(ctx)
			sealedErr("watch", err)

			live, err := s.Watch(ctx, "secrets/", s.Revision())
			if err != nil {
				t.Fatal(err)
			}
			defer live.Close()
			if _, err := remove(s, "secrets/a/x", store.Any); err != nil {
				t.Fatal("deletion:", err)
			}
			if _, err := put(s, "secrets/a/y", "new", store.Any); err != nil {
				t.Fatal("overwriting:", err)
			}
			mustPut(t, s, "pods/a/x", "open")
			_, err = live.Poll(ctx)
			sealedErr("watch of a deletion", err)
			if o, err := put(s, "secrets/a/y", "wrong", store.MustNotExist); !errors.Is(err, store.ErrExists) || o.Data != nil {
				t.Errorf("conflict: %q, %v", o.Data, err)
			}

			seal.lose(false)
			if o, err := s.Get(ctx, "secrets/a/z"); err != nil || check(t, o.Data, o.Revision) != "three" {
				t.Errorf("get when the key is back: %s, %v", o.Data, err)
			}
			events := next(t, live, 2)
			if events[0].Type != store.Deleted || check(t, events[0].Data, events[0].Revision) != "one" ||
				events[1].Type != store.Modified || check(t, events[1].Data, events[1].Revision) != "new" {
				t.Errorf("events when the key is back: %+v", events)
			}
			if l, err := s.List(ctx, "secrets/", store.ListOptions{}); err != nil || len(l.Objects) != 2 {
				t.Errorf("list when the key is back: %+v, %v", l, err)
			}
		})
	}
}

func TestFollowersGetWhatIsSealed(t *testing.T) {
	leaders, followers := &turner{bucket: "secrets"}, &turner{bucket: "secrets"}
	cfg := nodeConfig(t, 0)
	cfg.Sealer, cfg.TrailingEntries, cfg.SnapshotEntries = leaders, 1, 1
	lead := open(t, cfg)
	mustPut(t, lead, store.KeyBucket+"//k1", "first")
	mustPut(t, lead, "secrets/a/x", "hidden")
	if err := lead.TakeSnapshot(); err != nil {
		t.Fatal(err)
	}
	cfg = nodeConfig(t, 1)
	cfg.Sealer = followers
	follower := open(t, cfg)
	keyless := open(t, nodeConfig(t, 2))
	join(t, lead, "s1", follower)
	join(t, lead, "s2", keyless)
	mustPut(t, lead, "secrets/a/y", "more")
	last := mustPut(t, lead, store.KeyBucket+"//k2", "second")
	waitFor(t, follower, last.Revision)
	waitFor(t, keyless, last.Revision)
	ctx := context.Background()
	for _, key := range []string{"secrets/a/x", "secrets/a/y"} {
		if o, err := follower.Get(ctx, store.Key(key)); err != nil {
			t.Errorf("follower: %v", err)
		} else {
			check(t, o.Data, o.Revision)
		}
		if _, err := keyless.Get(ctx, store.Key(key)); !errors.Is(err, store.ErrSealed) || !strings.Contains(err.Error(), "given no keys") {
			t.Errorf("follower without keys: %v", err)
		}
	}
	if err := keyless.KeysReady(ctx); err == nil {
		t.Error("a follower without keys says that it is well")
	}
	if err := follower.KeysReady(ctx); err != nil {
		t.Error(err)
	}
	for _, key := range []store.Key{store.KeyBucket + "//k1", store.KeyBucket + "//k2"} {
		if followers.knows(key) == "" {
			t.Errorf("the follower was not told of %s", key)
		}
	}
}

func TestAStateWithSealedObjectsNeedsASealer(t *testing.T) {
	cfg := testConfig(t.TempDir())
	cfg.Sealer, cfg.CacheBytes = &turner{bucket: "secrets"}, 1
	s := open(t, cfg)
	mustPut(t, s, "pods/a/x", "open")
	mustPut(t, s, "secrets/a/x", "hidden")
	closeStore(t, s)
	without := cfg
	without.Sealer = nil
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if _, err := store.Open(ctx, without); !errors.Is(err, store.ErrSealed) || !strings.Contains(err.Error(), "secrets/a/x") {
		t.Fatalf("open without a sealer: %v", err)
	}
	s = open(t, cfg)
	mustPut(t, s, store.KeyBucket+"//bad", "no")
	closeStore(t, s)
	if _, err := store.Open(ctx, cfg); !errors.Is(err, errLost) {
		t.Fatalf("open with a sealer that says no: %v", err)
	}
}

func TestRewriteChangesOnlyTheForm(t *testing.T) {
	seal := &turner{}
	cfg := testConfig(t.TempDir())
	cfg.Sealer = seal
	s := open(t, cfg)
	ctx := context.Background()
	forms := func(history bool) string {
		t.Helper()
		var out []string
		err := s.Forms(ctx, history, func(key store.Key, _ uint64, envelope []byte) error {
			form := "open"
			if envelope != nil {
				form = "sealed"
			}
			out = append(out, string(key)+" "+form)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return strings.Join(out, ", ")
	}
	o := mustPut(t, s, "secrets/a/x", "hidden")
	if _, err := s.Write(ctx, store.Write{Key: "secrets/a/bare", Data: []byte("bytes"), RevisionAt: -1}); err != nil {
		t.Fatal(err)
	}
	rewrite := func(key store.Key) {
		t.Helper()
		now, err := s.Get(ctx, key)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Rewrite(ctx, key, now.Revision); err != nil {
			t.Fatal(err)
		}
	}
	seal.seals("secrets")
	rewrite("secrets/a/x")
	rewrite("secrets/a/bare")
	if got := forms(false); got != "secrets/a/bare sealed, secrets/a/x sealed" {
		t.Error(got)
	}
	if got := forms(true); got != "secrets/a/bare sealed, secrets/a/bare open, secrets/a/x sealed, secrets/a/x open" {
		t.Error(got)
	}
	again, err := s.Get(ctx, "secrets/a/x")
	if err != nil || again.Revision == o.Revision || check(t, again.Data, again.Revision) != "hidden" {
		t.Errorf("written again: %s, %v", again.Data, err)
	}
	wantErr(t, "rewriting what has changed", s.Rewrite(ctx, "secrets/a/x", o.Revision), store.ErrConflict)
	seal.seals("")
	rewrite("secrets/a/x")
	rewrite("secrets/a/bare")
	if got := forms(false); got != "secrets/a/bare open, secrets/a/x open" {
		t.Error(got)
	}
	if bare, err := s.Get(ctx, "secrets/a/bare"); err != nil || string(bare.Data) != "bytes" {
		t.Errorf("bytes without a revision: %q, %v", bare.Data, err)
	}
}

// TestSealedStoresBehaveAsOpenOnes: whatever happens to objects, keys and servers, reads are as
// those of a model, or say that the key is lost.
func TestSealedStoresBehaveAsOpenOnes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		dir, err := os.MkdirTemp("", "seal")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		seal := &turner{bucket: "secrets"}
		cfg := testConfig(dir)
		cfg.Sealer = seal
		cfg.CacheBytes = rapid.SampledFrom([]int64{1, 1 << 20}).Draw(t, "cache")
		start := func() *store.Store {
			s, err := store.Open(context.Background(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
		s, lost := start(), false
		defer func() { _ = s.Close() }()
		ctx := context.Background()
		values, sealed := map[string]string{}, map[string]bool{}
		keys := rapid.SampledFrom([]string{"secrets/a/x", "secrets/a/y", "secrets/b/x", "pods/a/x"})
		t.Repeat(map[string]func(*rapid.T){
			"put": func(t *rapid.T) {
				key, v := keys.Draw(t, "key"), rapid.StringMatching(`[a-z]{0,40}`).Draw(t, "value")
				if _, err := put(s, key, v, store.Any); err != nil {
					t.Fatal(err)
				}
				values[key], sealed[key] = v, seal.Seals("secrets") && strings.HasPrefix(key, "secrets/")
			},
			"delete": func(t *rapid.T) {
				key := keys.Draw(t, "key")
				if _, err := remove(s, key, store.Any); (err == nil) != has(values, key) {
					t.Fatal(err)
				}
				delete(values, key)
				delete(sealed, key)
			},
			"key":    func(t *rapid.T) { lost = !lost; seal.lose(lost) },
			"switch": func(t *rapid.T) { seal.seals(rapid.SampledFrom([]string{"", "secrets"}).Draw(t, "sealed")) },
			"restart": func(t *rapid.T) {
				if rapid.IntRange(0, 3).Draw(t, "really") > 0 {
					t.Skip()
				}
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				s = start()
			},
			"": func(t *rapid.T) {
				unreadable := false
				for _, key := range []string{"secrets/a/x", "secrets/a/y", "secrets/b/x", "pods/a/x"} {
					o, err := s.Get(ctx, store.Key(key))
					v, ok := values[key]
					switch {
					case !ok && !errors.Is(err, store.ErrNotFound):
						t.Fatalf("%s: %v", key, err)
					case !ok:
					case errors.Is(err, store.ErrSealed) && lost && sealed[key]:
						unreadable = true
					case err != nil:
						t.Fatalf("%s: %v", key, err)
					case check(t, o.Data, o.Revision) != v:
						t.Fatalf("%s: %s, not %s", key, o.Data, v)
					}
				}
				if _, err := s.List(ctx, "secrets/", store.ListOptions{}); err != nil && !unreadable {
					t.Fatal(err)
				}
			},
		})
	})
}

func has(m map[string]string, key string) bool {
	_, ok := m[key]
	return ok
}
