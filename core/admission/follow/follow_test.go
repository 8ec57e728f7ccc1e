package follow_test

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/pintle-dev/pintle/core/admission/follow"
	"github.com/pintle-dev/pintle/core/store"
	"github.com/pintle-dev/pintle/core/store/storetest"
)

// mirror is what has been taken over.
type mirror struct {
	mu      sync.Mutex
	objects map[string]string
}

func (m *mirror) apply(changes []follow.Change) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range changes {
		if c.Data == nil {
			delete(m.objects, c.Name)
		} else {
			m.objects[c.Name] = string(c.Data)
		}
	}
}

func (m *mirror) get(name string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.objects[name]
}

func TestWritesAreTakenOver(t *testing.T) {
	s := storetest.Open(t)
	put := func(st interface {
		Write(context.Context, store.Write) (store.Object, error)
	}, key, data string) {
		t.Helper()
		w := store.Write{Key: store.Key(key), RevisionAt: -1, Expect: store.Any}
		if w.Delete = data == ""; !w.Delete {
			w.Data = []byte(data)
		}
		if _, err := st.Write(t.Context(), w); err != nil {
			t.Fatal(err)
		}
	}
	put(s, "hooks//old", "before")
	m := &mirror{objects: map[string]string{}}
	b := follow.New("hooks", m.apply, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- b.Run(ctx, s) }()
	<-b.Ready()
	if m.get("/old") != "before" {
		t.Fatal("Ready before the objects there were have been taken over")
	}
	through := follow.Store{Store: s, Buckets: []*follow.Bucket{b}}
	for i := range 200 {
		want := strconv.Itoa(i)
		put(through, "hooks//a", want)
		if got := m.get("/a"); got != want {
			t.Fatalf("after a write of %s there is %q", want, got)
		}
		put(through, "hooksother//a", "not followed")
	}
	for i := range 50 {
		want := strconv.Itoa(i)
		var together []store.Write
		for _, key := range []store.Key{"hooks//a", "hooksother//b", "hooks//c"} {
			together = append(together, store.Write{Key: key, Data: []byte(want), RevisionAt: -1, Expect: store.Any})
		}
		if _, err := through.Transact(t.Context(), together); err != nil {
			t.Fatal(err)
		}
		if a, c := m.get("/a"), m.get("/c"); a != want || c != want {
			t.Fatalf("after a transaction of %s there are %q and %q", want, a, c)
		}
	}
	put(through, "hooks//a", "")
	if got := m.get("/a"); got != "" {
		t.Fatalf("after a deletion there is %q", got)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	put(through, "hooks//a", "nobody follows") // must not hang
}

func TestReachEndsWithItsContext(t *testing.T) {
	b := follow.New("hooks", func([]follow.Change) {}, nil)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	b.Reach(ctx, 7)
	if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		t.Error("returned though nothing is followed")
	}
}
