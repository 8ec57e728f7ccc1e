package store_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sort"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/pintle-dev/pintle/core/store"
)

// model is the store as one would describe it: a map, and every event there ever was.
type model struct {
	t        *rapid.T
	s        *store.Store
	cfg      store.Config
	revision uint64
	live     map[store.Key]modelObject
	events   []modelEvent
	// ends has the last revision of transactions for each of their revisions.
	ends map[uint64]uint64
}

type modelObject struct {
	revision uint64
	value    string
}

type modelEvent struct {
	kind        store.EventType
	key         store.Key
	revision    uint64
	value, prev string
}

// TestStoreBehavesLikeItsModel drives store and model alike, with everything in memory
// or nothing, and across restarts.
func TestStoreBehavesLikeItsModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		dir, err := os.MkdirTemp("", "store")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		cfg := testConfig(dir)
		cfg.CacheBytes = rapid.SampledFrom([]int64{1, 600, 1 << 20}).Draw(t, "cache")
		cfg.EventBytes = rapid.SampledFrom([]int64{1, 1500, 1 << 20}).Draw(t, "events")
		m := &model{t: t, cfg: cfg, revision: 1, live: map[store.Key]modelObject{}, ends: map[uint64]uint64{}}
		m.open()
		defer func() { _ = m.s.Close() }()
		t.Repeat(map[string]func(*rapid.T){
			"write":    m.write,
			"delete":   m.delete,
			"transact": m.transact,
			"list":     m.list,
			"watch":    m.watch,
			"history":  m.history,
			"reopen":   m.reopen,
			"":         m.check,
		})
	})
}

func (m *model) open() {
	s, err := store.Open(context.Background(), m.cfg)
	if err != nil {
		m.t.Fatal(err)
	}
	m.s = s
}

func (m *model) reopen(t *rapid.T) {
	if err := m.s.Close(); err != nil {
		t.Fatal(err)
	}
	m.open()
}

func drawKey(t *rapid.T) store.Key {
	bucket := rapid.SampledFrom([]string{"pods", "nodes"}).Draw(t, "bucket")
	return store.Key(fmt.Sprintf("%s/%s/%s", bucket,
		rapid.SampledFrom([]string{"", "a", "ab"}).Draw(t, "namespace"),
		rapid.SampledFrom([]string{"x", "y", "xy"}).Draw(t, "name")))
}

// drawExpect draws a guard and says what it leads to.
func (m *model) drawExpect(t *rapid.T, key store.Key, deletion bool) (store.Expectation, error) {
	old, exists := m.live[key]
	kinds := []string{"any", "current", "stale"}
	if !deletion {
		kinds = append(kinds, "none")
	}
	switch rapid.SampledFrom(kinds).Draw(t, "expect") {
	case "none":
		if exists {
			return store.MustNotExist, store.ErrExists
		}
		return store.MustNotExist, nil
	case "current":
		if !exists {
			return store.Expectation(m.revision), store.ErrNotFound
		}
		return store.Expectation(old.revision), nil
	case "stale":
		if !exists {
			return 1, store.ErrNotFound
		}
		return 1, store.ErrConflict
	}
	if deletion && !exists {
		return store.Any, store.ErrNotFound
	}
	return store.Any, nil
}

func (m *model) write(t *rapid.T) {
	key := drawKey(t)
	value := rapid.StringMatching("[a-z]{0,300}").Draw(t, "value")
	expect, want := m.drawExpect(t, key, false)
	got, err := put(m.s, string(key), value, expect)
	old, exists := m.live[key]
	if m.answered(t, key, got, err, want) {
		return
	}
	ev := modelEvent{store.Added, key, m.revision, value, ""}
	if exists {
		ev.kind, ev.prev = store.Modified, old.value
	}
	m.live[key] = modelObject{m.revision, value}
	m.events = append(m.events, ev)
	if check(t, got.Data, m.revision) != value {
		t.Fatalf("stored %s", got.Data)
	}
}

func (m *model) delete(t *rapid.T) {
	key := drawKey(t)
	expect, want := m.drawExpect(t, key, true)
	got, err := m.s.Write(context.Background(), store.Write{Key: key, Delete: true, Expect: expect, Note: []byte(key)})
	old := m.live[key]
	if m.answered(t, key, got, err, want) {
		return
	}
	delete(m.live, key)
	m.events = append(m.events, modelEvent{store.Deleted, key, m.revision, old.value, old.value})
	if check(t, got.Data, m.revision) != old.value {
		t.Fatalf("deleted %s", got.Data)
	}
}

// answered checks the answer to a write; it returns true where it was a refusal.
func (m *model) answered(t *rapid.T, key store.Key, got store.Object, err, want error) bool {
	if !errors.Is(err, want) || (want == nil && err != nil) {
		t.Fatalf("write of %s: got %v, want %v", key, err, want)
	}
	if want == nil {
		m.revision++
		if got.Revision != m.revision || got.Key != key {
			t.Fatalf("write of %s: %+v, want revision %d", key, got, m.revision)
		}
		return false
	}
	if !errors.Is(want, store.ErrNotFound) {
		current := m.live[key]
		if got.Revision != current.revision || check(t, got.Data, current.revision) != current.value {
			t.Fatalf("refused write of %s came with %d %s, want %+v", key, got.Revision, got.Data, current)
		}
	}
	return true
}

// transact draws writes of which each is right or wrong by itself.
func (m *model) transact(t *rapid.T) {
	keys := rapid.SliceOfNDistinct(rapid.Custom(drawKey), 1, 5, rapid.ID).Draw(t, "keys")
	writes, values, wants := make([]store.Write, len(keys)), make([]string, len(keys)), make([]error, len(keys))
	refused := false
	for i, key := range keys {
		w := store.Write{Key: key}
		kind := rapid.SampledFrom([]string{"put", "put", "delete", "check"}).Draw(t, "kind")
		w.Expect, wants[i] = m.drawExpect(t, key, kind == "delete")
		switch {
		case kind == "delete":
			w.Delete, w.Note = true, []byte(key)
		case kind == "check" && w.Expect != store.Any:
			w.Check = true
		default:
			values[i] = rapid.StringMatching("[a-z]{0,300}").Draw(t, "value")
			w.Data, w.RevisionAt = document(values[i])
		}
		refused = refused || wants[i] != nil
		writes[i] = w
	}
	got, err := m.s.Transact(context.Background(), writes)
	if refused {
		var r *store.Refused
		if !errors.As(err, &r) || len(r.Errors) != len(keys) || got != nil {
			t.Fatalf("a transaction to be refused came to %v, %v", got, err)
		}
		for i, want := range wants {
			if want == nil {
				want = store.ErrWithheld
			}
			if !errors.Is(r.Errors[i], want) || !errors.Is(err, want) {
				t.Fatalf("write of %s: %v, want %v", keys[i], r.Errors[i], want)
			}
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	first := m.revision + 1
	for i, key := range keys {
		old, exists := m.live[key]
		if writes[i].Check {
			if got[i].Revision != old.revision || got[i].Data != nil {
				t.Fatalf("check of %s: %+v, want revision %d", key, got[i], old.revision)
			}
			continue
		}
		m.revision++
		ev := modelEvent{store.Added, key, m.revision, values[i], ""}
		switch {
		case writes[i].Delete:
			ev.kind, ev.value, ev.prev = store.Deleted, old.value, old.value
			delete(m.live, key)
		case exists:
			ev.kind, ev.prev = store.Modified, old.value
			fallthrough
		default:
			m.live[key] = modelObject{m.revision, values[i]}
		}
		m.events = append(m.events, ev)
		if got[i].Revision != m.revision || got[i].Key != key || check(t, got[i].Data, m.revision) != ev.value {
			t.Fatalf("transaction wrote %s as %d %s, want %d", key, got[i].Revision, got[i].Data, m.revision)
		}
	}
	for r := first; r < m.revision; r++ {
		m.ends[r] = m.revision
	}
}

func (m *model) history(t *rapid.T) {
	prefix := drawPrefix(t)
	if rapid.Bool().Draw(t, "object") {
		prefix = drawKey(t)
	}
	limit := rapid.IntRange(0, 4).Draw(t, "limit")
	got, err := m.s.History(context.Background(), prefix, limit)
	if err != nil {
		t.Fatal(err)
	}
	var want []modelEvent
	for _, ev := range m.events {
		if ev.key == prefix || prefix[len(prefix)-1] == '/' && strings.HasPrefix(string(ev.key), string(prefix)) {
			want = append(want, ev)
		}
	}
	more := limit > 0 && len(want) > limit
	if more {
		want = want[len(want)-limit:]
	}
	same := slices.EqualFunc(got.Changes, want, func(g *store.Event, w modelEvent) bool {
		return g.Type == w.kind && g.Key == w.key && g.Revision == w.revision && check(t, g.Data, g.Revision) == w.value
	})
	for _, ev := range got.Changes {
		if deleted := ev.Type == store.Deleted; deleted != (string(got.Notes[ev.Revision]) == string(ev.Key)) {
			t.Fatalf("%s has the note %q", describe(ev), got.Notes[ev.Revision])
		}
	}
	if !same || got.More != more || got.Revision != m.revision || got.First != nil {
		t.Fatalf("history of %s: %+v, want %+v", prefix, got, want)
	}
}

func drawPrefix(t *rapid.T) store.Key {
	return rapid.SampledFrom([]store.Key{"pods/", "nodes/", "pods//", "pods/a/", "pods/ab/", "none/"}).Draw(t, "prefix")
}

// at is the model as it was.
func (m *model) at(revision uint64, prefix store.Key) []store.Object {
	live := map[store.Key]store.Object{}
	for _, ev := range m.events {
		if ev.revision > revision || len(ev.key) < len(prefix) || ev.key[:len(prefix)] != prefix {
			continue
		}
		if ev.kind == store.Deleted {
			delete(live, ev.key)
		} else {
			live[ev.key] = store.Object{Key: ev.key, Revision: ev.revision, Data: []byte(ev.value)}
		}
	}
	out := make([]store.Object, 0, len(live))
	for _, o := range live {
		out = append(out, o)
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Key < out[j].Key })
	return out
}

func (m *model) list(t *rapid.T) {
	prefix := drawPrefix(t)
	revision := uint64(rapid.IntRange(1, int(m.revision)).Draw(t, "revision"))
	limit := rapid.IntRange(0, 3).Draw(t, "limit")
	var got []store.Object
	opts := store.ListOptions{Revision: revision, Limit: limit}
	if end := m.ends[revision]; end != 0 {
		revision = end
	}
	want := m.at(revision, prefix)
	for {
		page, err := m.s.List(context.Background(), prefix, opts)
		if err != nil || page.Revision != revision {
			t.Fatalf("list: %v at %d", err, page.Revision)
		}
		got = append(got, page.Objects...)
		if page.Remaining >= 0 && int(page.Remaining) != len(want)-len(got) {
			t.Fatalf("%d remain, want %d", page.Remaining, len(want)-len(got))
		}
		if !page.More {
			break
		}
		opts.After = got[len(got)-1].Key
	}
	same := slices.EqualFunc(got, want, func(g, w store.Object) bool {
		return g.Key == w.Key && g.Revision == w.Revision && check(t, g.Data, g.Revision) == string(w.Data)
	})
	if !same {
		t.Fatalf("list of %s at %d: got %v, want %v", prefix, revision, got, want)
	}
}

func (m *model) watch(t *rapid.T) {
	prefix := drawPrefix(t)
	after := uint64(rapid.IntRange(1, int(m.revision)).Draw(t, "after"))
	w, err := m.s.Watch(context.Background(), prefix, after)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	var got []*store.Event
	for {
		evs, err := w.Poll(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if len(evs) == 0 {
			break
		}
		got = append(got, evs...)
	}
	var want []modelEvent
	for _, ev := range m.events {
		if ev.revision > after && len(ev.key) >= len(prefix) && ev.key[:len(prefix)] == prefix {
			want = append(want, ev)
		}
	}
	same := slices.EqualFunc(got, want, func(g *store.Event, w modelEvent) bool {
		return g.Type == w.kind && g.Key == w.key && g.Revision == w.revision &&
			check(t, g.Data, g.Revision) == w.value && (g.Prev == nil) == (w.kind == store.Added)
	})
	if !same {
		t.Fatalf("watch of %s after %d: got %d events, want %+v", prefix, after, len(got), want)
	}
	if p := w.Progress(); p != m.revision {
		t.Fatalf("progress %d, want %d", p, m.revision)
	}
}

// check compares what can be seen at any time.
func (m *model) check(t *rapid.T) {
	if got := m.s.Revision(); got != m.revision {
		t.Fatalf("revision %d, want %d", got, m.revision)
	}
	for key, want := range m.live {
		o, err := m.s.Get(context.Background(), key)
		if err != nil || o.Revision != want.revision || check(t, o.Data, o.Revision) != want.value {
			t.Fatalf("get %s: %+v %v, want %+v", key, o, err, want)
		}
	}
	if got, want := m.s.Count("pods/")+m.s.Count("nodes/"), len(m.live); got != want {
		t.Fatalf("%d objects, want %d", got, want)
	}
}
