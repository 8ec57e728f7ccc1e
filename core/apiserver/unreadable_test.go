package apiserver_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/pintle-dev/pintle/core/apiserver"
	"github.com/pintle-dev/pintle/core/auth"
	"github.com/pintle-dev/pintle/core/store"
)

// losing seals configmaps, until its key is lost.
type losing struct{ lost atomic.Bool }

func (*losing) Seals(bucket string) bool { return bucket == "configmaps" }

func (*losing) Seal(_ context.Context, _ store.Key, _ int, data []byte) ([]byte, error) {
	return append([]byte("sealed"), data...), nil
}

func (l *losing) Open(_ store.Key, _ int, envelope []byte) ([]byte, error) {
	if l.lost.Load() {
		return nil, errors.New("data key 7 is gone")
	}
	return envelope[len("sealed"):], nil
}

func (*losing) Learn(store.Key, []byte)      {}
func (*losing) Loaded(context.Context) error { return nil }

// careful lets nobody delete what can't be read but root.
type careful struct{ everyone }

func (c careful) Authorize(ctx context.Context, a auth.Attributes) (bool, string, error) {
	if a.Verb == "unsafe-delete-ignore-read-errors" && a.User.Name != "root" {
		return false, "", nil
	}
	return c.everyone.Authorize(ctx, a)
}

func TestWhatCannotBeDecryptedIsNamedAndCanBeDeleted(t *testing.T) {
	keys := &losing{}
	a := newAPI(t, func(c *apiserver.Config) {
		// Without memory for objects, reads go to the disk.
		st, err := store.Open(context.Background(), store.Config{Dir: t.TempDir(), Bootstrap: true, MinFreeBytes: 1 << 20,
			CacheBytes: 1, Sealer: keys, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = st.Close() })
		c.Store, c.Authorizer = st, careful{}
	})
	a.must(201, "POST", cms, `{"metadata":{"name":"a","finalizers":["example.dev/held"]}}`)
	a.must(201, "POST", cms, `{"metadata":{"name":"b"}}`)
	rv, _ := at(a.must(200, "GET", cms, "").object(t), "metadata.resourceVersion").(string)
	const unsafe = "?ignoreStoreReadErrorWithClusterBreakingPotential=true"
	refused := a.must(422, "DELETE", cms+"/a"+unsafe, "").object(t)
	if msg, _ := refused["message"].(string); msg != `configmaps "a" is invalid: ignoreStoreReadErrorWithClusterBreakingPotential: Invalid value: true: is exclusively used to delete corrupt object(s), try again by removing this option` {
		t.Errorf("what can be read: %s", msg)
	}

	keys.lost.Store(true)
	for _, r := range []struct{ method, path string }{
		{"GET", cms + "/a"}, {"GET", cms}, {"DELETE", cms + "/a"}, {"GET", "/api/v1/configmaps"},
	} {
		st := a.must(500, r.method, r.path, "").object(t)
		msg, _ := st["message"].(string)
		if st["reason"] != "StorageReadError" || !strings.Contains(msg, "configmaps/default/a") || !strings.Contains(msg, "data key 7 is gone") {
			t.Errorf("%s %s: %v", r.method, r.path, st)
		}
	}
	w := a.watch(cms + "?watch=1&resourceVersion=" + rv)
	a.must(403, "DELETE", cms+"/a"+unsafe, "", "X-User", "somebody")
	a.must(422, "DELETE", cms+"/a", `{"kind":"DeleteOptions","apiVersion":"v1","ignoreStoreReadErrorWithClusterBreakingPotential":true,"gracePeriodSeconds":0}`)
	a.must(404, "DELETE", cms+"/none"+unsafe, "")
	if st := a.must(200, "DELETE", cms+"/a"+unsafe, "").object(t); st["status"] != "Success" {
		t.Errorf("deletion: %v", st)
	}
	if e := w.next(); e.Type != "ERROR" || at(e.Object, "reason") != "StorageReadError" {
		t.Errorf("event of what nobody can read: %+v", e)
	}
	a.must(404, "GET", cms+"/a", "")
	a.must(200, "DELETE", cms+"/b", `{"kind":"DeleteOptions","apiVersion":"v1","ignoreStoreReadErrorWithClusterBreakingPotential":true}`)
	if list := a.must(200, "GET", cms, "").object(t); len(at(list, "items").([]any)) != 0 {
		t.Errorf("left: %v", list)
	}
	a.must(201, "POST", "/api/v1/namespaces", `{"metadata":{"name":"other"}}`)
}
