package follow_test

import (
	"context"
	"log/slog"
	"maps"
	"sync"
	"testing"
	"time"

	"github.com/pintle-dev/pintle/core/follow"
	"github.com/pintle-dev/pintle/core/store"
	"github.com/pintle-dev/pintle/core/store/storetest"
)

// index is what is kept: values by key.
type index struct {
	mu     sync.Mutex
	values map[store.Key]string
}

func (i *index) Put(key store.Key, data []byte, _ uint64) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.values[key] = string(data)
}

func (i *index) Remove(key store.Key) {
	i.mu.Lock()
	defer i.mu.Unlock()
	delete(i.values, key)
}

func (i *index) Keys() []store.Key {
	i.mu.Lock()
	defer i.mu.Unlock()
	var keys []store.Key
	for k := range i.values {
		keys = append(keys, k)
	}
	return keys
}

// TestIndexBecomesTheBucket starts from an index that is out of date, as after a loss of
// history, and follows writes of all sorts.
func TestIndexBecomesTheBucket(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	s := storetest.Open(t)
	write := func(w store.Write) uint64 {
		t.Helper()
		w.RevisionAt = -1
		o, err := s.Write(ctx, w)
		if err != nil {
			t.Fatal(err)
		}
		return o.Revision
	}
	write(store.Write{Key: "things/a/one", Data: []byte(`1`), Expect: store.Any})
	write(store.Write{Key: "others/a/one", Data: []byte(`0`), Expect: store.Any})

	i := &index{values: map[store.Key]string{"things/a/gone": "x"}}
	reached := make(chan uint64, 100)
	done := make(chan struct{})
	go func() {
		defer close(done)
		follow.Bucket(ctx, s, "things", i, func(revision uint64) { reached <- revision }, slog.New(slog.DiscardHandler))
	}()
	wait := func(revision uint64) {
		t.Helper()
		for {
			select {
			case got := <-reached:
				if got >= revision {
					return
				}
			case <-ctx.Done():
				t.Fatalf("revision %d was not reached", revision)
			}
		}
	}
	check := func(want map[store.Key]string) {
		t.Helper()
		i.mu.Lock()
		defer i.mu.Unlock()
		if !maps.Equal(i.values, want) {
			t.Errorf("got %v, want %v", i.values, want)
		}
	}
	wait(1)
	check(map[store.Key]string{"things/a/one": "1"})
	write(store.Write{Key: "things/a/one", Data: []byte(`2`), Expect: store.Any})
	last := write(store.Write{Key: "things/b/two", Data: []byte(`3`), Expect: store.Any})
	wait(last)
	check(map[store.Key]string{"things/a/one": "2", "things/b/two": "3"})
	wait(write(store.Write{Key: "things/a/one", Delete: true, Expect: store.Any}))
	check(map[store.Key]string{"things/b/two": "3"})

	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-done:
	case <-ctx.Done():
		t.Fatal("following goes on after the store is closed")
	}
}
