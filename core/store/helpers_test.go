package store_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/pintle-dev/pintle/core/store"
)

// testConfig is small and quiet; PINTLE_TEST_LOG=1 makes it talk.
func testConfig(dir string) store.Config {
	var handler slog.Handler = slog.DiscardHandler
	if os.Getenv("PINTLE_TEST_LOG") != "" {
		handler = slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})
	}
	return store.Config{Dir: dir, Bootstrap: true, MinFreeBytes: 1 << 20, Logger: slog.New(handler)}
}

func open(t testing.TB, cfg store.Config) *store.Store {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	s, err := store.Open(ctx, cfg)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(func() { closeStore(t, s) })
	return s
}

func closeStore(t testing.TB, s *store.Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
}

// document makes bytes with a place for the revision, as the API server does.
func document(value string) (data []byte, at int) {
	const head = `{"rv":"`
	return []byte(head + `","value":` + strconv.Quote(value) + `}`), len(head)
}

// parsed is what document becomes once stored.
type parsed struct {
	RV    string `json:"rv"`
	Value string `json:"value"`
}

// failer is a test or a property.
type failer interface {
	Helper()
	Fatalf(format string, args ...any)
}

// check fails unless o's bytes carry its own revision, and returns the value in them.
func check(t failer, data []byte, revision uint64) string {
	t.Helper()
	var p parsed
	if err := json.Unmarshal(data, &p); err != nil {
		t.Fatalf("stored bytes %q: %v", data, err)
	}
	if p.RV != strconv.FormatUint(revision, 10) {
		t.Fatalf("stored bytes %q do not carry revision %d", data, revision)
	}
	return p.Value
}

func put(s *store.Store, key, value string, expect store.Expectation) (store.Object, error) {
	data, at := document(value)
	return s.Write(context.Background(), store.Write{Key: store.Key(key), Data: data, RevisionAt: at, Expect: expect})
}

func mustPut(t testing.TB, s *store.Store, key, value string) store.Object {
	t.Helper()
	o, err := put(s, key, value, store.Any)
	if err != nil {
		t.Fatalf("put %s: %v", key, err)
	}
	return o
}

func remove(s *store.Store, key string, expect store.Expectation) (store.Object, error) {
	return s.Write(context.Background(), store.Write{Key: store.Key(key), Delete: true, Expect: expect})
}

// next reads n events or fails.
func next(t testing.TB, w *store.Watcher, n int) []*store.Event {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	var out []*store.Event
	for len(out) < n {
		evs, err := w.Next(ctx)
		if err != nil {
			t.Fatalf("watch after %d of %d events: %v", len(out), n, err)
		}
		out = append(out, evs...)
	}
	return out
}

func describe(ev *store.Event) string {
	return fmt.Sprintf("%d %s %d", ev.Type, ev.Key, ev.Revision)
}

func wantErr(t testing.TB, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("%s: got error %v, want %v", what, err, want)
	}
}
