package front_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/pintle-dev/pintle/core/store"
	"github.com/pintle-dev/pintle/test/bench/store/front"
)

// serve starts a store behind the front, and etcd's client of it.
func serve(t *testing.T) (context.Context, *clientv3.Client) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	s, err := store.Open(ctx, store.Config{
		Dir: t.TempDir(), NodeID: "a", Bootstrap: true, MinFreeBytes: 1 << 20, Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serving, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- front.Serve(serving, front.New(s, "a"), l) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{"http://" + l.Addr().String()}, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return ctx, client
}

func put(ctx context.Context, t *testing.T, c *clientv3.Client, key, value string) int64 {
	t.Helper()
	r, err := c.Put(ctx, key, value)
	if err != nil {
		t.Fatal(err)
	}
	return r.Header.Revision
}

func TestPutAndGet(t *testing.T) {
	ctx, c := serve(t)
	revision := put(ctx, t, c, "pods/default/a", "one")
	got, err := c.Get(ctx, "pods/default/a")
	if err != nil || len(got.Kvs) != 1 || string(got.Kvs[0].Value) != "one" || got.Kvs[0].ModRevision != revision || got.Count != 1 {
		t.Errorf("got %v, %v, want \"one\" at revision %d", got, err, revision)
	}
	if got, err := c.Get(ctx, "pods/default/none"); err != nil || len(got.Kvs) != 0 || got.Count != 0 {
		t.Errorf("a key that does not exist: %v, %v", got, err)
	}
	st, err := c.Status(ctx, c.Endpoints()[0])
	if err != nil || st.Leader == 0 || st.Leader != st.Header.MemberId || st.RaftIndex == 0 {
		t.Errorf("status %v, %v: want the leader's own", st, err)
	}
}

func TestPages(t *testing.T) {
	ctx, c := serve(t)
	const prefix, objects, page = "pods/default/", 7, 3
	for i := range objects {
		put(ctx, t, c, fmt.Sprint(prefix, i), "x")
	}
	put(ctx, t, c, "pods/other/9", "x")
	end := clientv3.WithRange(clientv3.GetPrefixRangeEnd(prefix))
	from, seen := prefix, 0
	for more := true; more; {
		got, err := c.Get(ctx, from, end, clientv3.WithLimit(page))
		if err != nil {
			t.Fatal(err)
		}
		if want := int64(objects - seen); got.Count != want {
			t.Errorf("after %d: count %d, want %d", seen, got.Count, want)
		}
		for _, kv := range got.Kvs {
			if want := fmt.Sprint(prefix, seen); string(kv.Key) != want {
				t.Errorf("key %s, want %s", kv.Key, want)
			}
			seen++
			from = string(kv.Key) + "\x00"
		}
		more = got.More
	}
	if seen != objects {
		t.Errorf("%d objects, want %d", seen, objects)
	}
	if _, err := c.Get(ctx, "a", clientv3.WithRange("b")); err == nil {
		t.Error("a range that is no prefix was answered")
	}
}

func TestWatchesShareAStream(t *testing.T) {
	ctx, c := serve(t)
	before := put(ctx, t, c, "pods/default/a", "0")
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	all := c.Watch(ctx, "pods/default/", clientv3.WithPrefix(), clientv3.WithRev(before))
	one := c.Watch(ctx, "pods/default/b", clientv3.WithRev(before))
	put(ctx, t, c, "pods/default/b", "1")
	put(ctx, t, c, "pods/default/a", "2")
	want := func(name string, ch clientv3.WatchChan, values ...string) {
		t.Helper()
		for len(values) > 0 {
			r := <-ch
			if err := r.Err(); err != nil {
				t.Fatal(err)
			}
			for _, ev := range r.Events {
				if len(values) == 0 || string(ev.Kv.Value) != values[0] {
					t.Fatalf("%s: event %v, want %v", name, ev, values)
				}
				values = values[1:]
			}
		}
	}
	want("prefix", all, "0", "1", "2")
	want("key", one, "1")
	late := c.Watch(ctx, "pods/default/a", clientv3.WithRev(1<<40))
	if r := <-late; !r.Canceled {
		t.Errorf("a watch from the future: %v, want it refused", r)
	}
}
