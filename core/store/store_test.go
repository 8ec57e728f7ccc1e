package store_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/pintle-dev/pintle/core/store"
)

func TestWritesAreGuarded(t *testing.T) {
	s := open(t, testConfig(t.TempDir()))
	if got := s.Revision(); got != 1 {
		t.Fatalf("an empty store is at revision %d, want 1", got)
	}
	created, err := put(s, "pods/default/a", "1", store.MustNotExist)
	if err != nil {
		t.Fatal(err)
	}
	if created.Revision != 2 || check(t, created.Data, 2) != "1" {
		t.Fatalf("created %+v", created)
	}
	current, err := put(s, "pods/default/a", "x", store.MustNotExist)
	wantErr(t, "second create", err, store.ErrExists)
	if check(t, current.Data, 2) != "1" {
		t.Fatalf("the error came with %s, want the current object", current.Data)
	}
	updated, err := put(s, "pods/default/a", "2", store.Expectation(created.Revision))
	if err != nil || updated.Revision != 3 {
		t.Fatalf("update: %+v, %v", updated, err)
	}
	current, err = put(s, "pods/default/a", "x", store.Expectation(created.Revision))
	wantErr(t, "stale update", err, store.ErrConflict)
	if current.Revision != 3 || check(t, current.Data, 3) != "2" {
		t.Fatalf("the conflict came with %+v", current)
	}
	_, err = put(s, "pods/default/none", "x", 2)
	wantErr(t, "update of nothing", err, store.ErrNotFound)
	_, err = remove(s, "pods/default/none", store.Any)
	wantErr(t, "deletion of nothing", err, store.ErrNotFound)
	_, err = remove(s, "pods/default/a", 2)
	wantErr(t, "stale deletion", err, store.ErrConflict)
	if got := s.Revision(); got != 3 {
		t.Fatalf("rejected writes moved the revision to %d", got)
	}
	gone, err := remove(s, "pods/default/a", 3)
	if err != nil || gone.Revision != 4 || check(t, gone.Data, 4) != "2" {
		t.Fatalf("deletion: %+v, %v", gone, err)
	}
	_, err = s.Get(context.Background(), "pods/default/a")
	wantErr(t, "get after deletion", err, store.ErrNotFound)
}

func TestWriteRefusesNonsense(t *testing.T) {
	s := open(t, testConfig(t.TempDir()))
	data, at := document("v")
	tests := map[string]store.Write{
		"no namespace":          {Key: "pods/a", Data: data, RevisionAt: at},
		"no name":               {Key: "pods/default/", Data: data, RevisionAt: at},
		"no bucket":             {Key: "/default/a", Data: data, RevisionAt: at},
		"neither data nor not":  {Key: "pods/default/a"},
		"both":                  {Key: "pods/default/a", Data: data, Delete: true, Expect: store.Any},
		"delete what is absent": {Key: "pods/default/a", Delete: true, Expect: store.MustNotExist},
		"revision outside":      {Key: "pods/default/a", Data: data, RevisionAt: len(data) + 1},
		"too large":             {Key: "pods/default/a", Data: make([]byte, store.MaxObjectBytes+1), RevisionAt: -1},
	}
	for name, w := range tests {
		t.Run(name, func(t *testing.T) {
			if _, err := s.Write(context.Background(), w); err == nil {
				t.Fatal("the write was taken")
			}
		})
	}
}

func TestListPagesAreOneSnapshot(t *testing.T) {
	for _, cache := range []int64{1, 64 << 20} { // From disk and from memory.
		t.Run(fmt.Sprint("cache ", cache), func(t *testing.T) {
			cfg := testConfig(t.TempDir())
			cfg.CacheBytes = cache
			s := open(t, cfg)
			for i := range 25 {
				mustPut(t, s, fmt.Sprintf("pods/ns%d/p%02d", i%2, i), "old")
			}
			ctx := context.Background()
			page, err := s.List(ctx, "pods/", store.ListOptions{Limit: 10})
			if err != nil || !page.More || page.Remaining != 15 || len(page.Objects) != 10 {
				t.Fatalf("first page: %+v %v", page, err)
			}
			rev := page.Revision
			// What happens between the pages is not in them.
			mustPut(t, s, "pods/ns1/p19", "new")
			if _, err := remove(s, "pods/ns1/p21", store.Any); err != nil {
				t.Fatal(err)
			}
			mustPut(t, s, "pods/ns2/p99", "new")
			all := page.Objects
			for page.More {
				page, err = s.List(ctx, "pods/", store.ListOptions{Revision: rev, Limit: 10, After: all[len(all)-1].Key})
				if err != nil || page.Revision != rev {
					t.Fatalf("page: %v at %d", err, page.Revision)
				}
				all = append(all, page.Objects...)
			}
			if len(all) != 25 {
				t.Fatalf("%d objects in all pages, want 25", len(all))
			}
			for i, o := range all {
				if check(t, o.Data, o.Revision) != "old" || (i > 0 && all[i-1].Key >= o.Key) {
					t.Fatalf("object %d of the old snapshot: %s %s", i, o.Key, o.Data)
				}
			}
			if n := s.Count("pods/"); n != 25 {
				t.Fatalf("count %d, want 25", n)
			}
			if n := s.Count("pods/ns1/"); n != 11 {
				t.Fatalf("count of ns1 %d, want 11", n)
			}
			if n := s.Count("po/"); n != 0 {
				t.Fatalf("count of an unknown bucket %d", n)
			}
			_, err = s.List(ctx, "pods/", store.ListOptions{Revision: s.Revision() + 1})
			wantErr(t, "list in the future", err, store.ErrFutureRevision)
			_, err = s.List(ctx, "pods", store.ListOptions{})
			if err == nil {
				t.Fatal("a prefix without a slash was taken")
			}
		})
	}
}

func TestWatchFollowsAPrefix(t *testing.T) {
	s := open(t, testConfig(t.TempDir()))
	start := s.Revision()
	ctx := context.Background()
	watch := func(prefix store.Key) *store.Watcher {
		t.Helper()
		w, err := s.Watch(ctx, prefix, start)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(w.Close)
		return w
	}
	all, ns, one := watch("pods/"), watch("pods/a/"), watch("pods/a/x")
	mustPut(t, s, "pods/a/x", "1")                              // 2
	mustPut(t, s, "pods/a/xy", "1")                             // 3
	mustPut(t, s, "pods/b/x", "1")                              // 4
	mustPut(t, s, "pods/a/x", "2")                              // 5
	if _, err := remove(s, "pods/a/x", store.Any); err != nil { // 6
		t.Fatal(err)
	}
	for _, tc := range []struct {
		w    *store.Watcher
		want []string
	}{
		{all, []string{"1 pods/a/x 2", "1 pods/a/xy 3", "1 pods/b/x 4", "2 pods/a/x 5", "3 pods/a/x 6"}},
		{ns, []string{"1 pods/a/x 2", "1 pods/a/xy 3", "2 pods/a/x 5", "3 pods/a/x 6"}},
		{one, []string{"1 pods/a/x 2", "2 pods/a/x 5", "3 pods/a/x 6"}},
	} {
		got := next(t, tc.w, len(tc.want))
		for i, ev := range got {
			if describe(ev) != tc.want[i] {
				t.Errorf("event %d is %s, want %s", i, describe(ev), tc.want[i])
			}
			check(t, ev.Data, ev.Revision)
			if (ev.Prev == nil) != (ev.Type == store.Added) {
				t.Errorf("event %s has a previous state: %v", describe(ev), ev.Prev != nil)
			}
		}
		if last := got[len(got)-1]; check(t, last.Data, 6) != "2" {
			t.Errorf("the deletion carries %s, want the last state", last.Data)
		}
	}
	// Bookmarks advance with writes elsewhere.
	o := mustPut(t, s, "nodes//n", "1")
	if err := s.WaitFor(ctx, o.Revision); err != nil {
		t.Fatal(err)
	}
	if got := one.Progress(); got != o.Revision {
		t.Errorf("progress %d, want %d", got, o.Revision)
	}
	timeout, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
	defer cancel()
	_, err := one.Next(timeout)
	wantErr(t, "watch of nothing", err, context.DeadlineExceeded)
	one.Close()
	_, err = one.Next(ctx)
	wantErr(t, "closed watch", err, store.ErrClosed)
	_, err = s.Watch(ctx, "pods/", s.Revision()+1)
	wantErr(t, "watch from the future", err, store.ErrFutureRevision)
}

func TestReopenContinues(t *testing.T) {
	dir := t.TempDir()
	s := open(t, testConfig(dir))
	for i := range 20 {
		mustPut(t, s, fmt.Sprintf("pods/a/p%02d", i), "1")
	}
	mustPut(t, s, "pods/a/p03", "2")
	if _, err := remove(s, "pods/a/p04", store.Any); err != nil {
		t.Fatal(err)
	}
	rev := s.Revision()
	closeStore(t, s)
	s = open(t, testConfig(dir))
	if s.Revision() != rev || s.Count("pods/") != 19 {
		t.Fatalf("revision %d and %d objects, want %d and 19", s.Revision(), s.Count("pods/"), rev)
	}
	// The events from before are still there, deletions with their last state.
	w, err := s.Watch(context.Background(), "pods/", rev-3)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	evs := next(t, w, 3)
	want := []string{"1 pods/a/p19 21", "2 pods/a/p03 22", "3 pods/a/p04 23"}
	for i, ev := range evs {
		if describe(ev) != want[i] {
			t.Errorf("event %s, want %s", describe(ev), want[i])
		}
		check(t, ev.Data, ev.Revision)
	}
	if v := check(t, evs[1].Prev, 5); v != "1" {
		t.Errorf("previous state %q", v)
	}
	o, err := put(s, "pods/a/p04", "3", store.MustNotExist)
	if err != nil || o.Revision != rev+1 {
		t.Fatalf("create after reopen: %+v %v", o, err)
	}
	if evs = next(t, w, 1); describe(evs[0]) != "1 pods/a/p04 24" {
		t.Errorf("event %s", describe(evs[0]))
	}
}

func TestCompactionEndsTheHistory(t *testing.T) {
	cfg := testConfig(t.TempDir())
	cfg.HistoryWindow = 50 * time.Millisecond
	cfg.EventBytes = 1
	s := open(t, cfg)
	ctx := context.Background()
	first := mustPut(t, s, "pods/a/x", "1")
	w, err := s.Watch(ctx, "pods/", first.Revision-1)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	deadline := time.Now().Add(20 * time.Second)
	for s.Horizon() <= first.Revision {
		if time.Now().After(deadline) {
			t.Fatal("the history is never cut")
		}
		mustPut(t, s, "pods/a/x", "2")
	}
	_, err = s.List(ctx, "pods/", store.ListOptions{Revision: first.Revision})
	wantErr(t, "list of the past", err, store.ErrCompacted)
	_, err = s.Watch(ctx, "pods/", first.Revision)
	wantErr(t, "watch of the past", err, store.ErrCompacted)
	_, err = w.Next(ctx)
	wantErr(t, "a watcher that fell behind", err, store.ErrCompacted)
}

func TestCloseEndsWaiters(t *testing.T) {
	s := open(t, testConfig(t.TempDir()))
	w, err := s.Watch(context.Background(), "pods/", s.Revision())
	if err != nil {
		t.Fatal(err)
	}
	errs := make(chan error, 2)
	go func() { _, err := w.Next(context.Background()); errs <- err }()
	go func() { errs <- s.WaitFor(context.Background(), 100) }()
	closeStore(t, s)
	for range 2 {
		wantErr(t, "a wait across Close", <-errs, store.ErrClosed)
	}
	_, err = s.Get(context.Background(), "pods/a/b")
	wantErr(t, "get", err, store.ErrClosed)
	_, err = put(s, "pods/a/b", "1", store.Any)
	wantErr(t, "write", err, store.ErrClosed)
}

func TestSecondProcessIsRefused(t *testing.T) {
	dir := t.TempDir()
	open(t, testConfig(dir))
	_, err := store.Open(context.Background(), testConfig(dir))
	if err == nil {
		t.Fatal("the directory was opened twice")
	}
	t.Log(err)
}
