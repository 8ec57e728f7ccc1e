package index_test

import (
	"fmt"
	"runtime"
	"testing"
	"weak"

	"github.com/pintle-dev/pintle/core/store/internal/index"
	"github.com/pintle-dev/pintle/core/store/internal/value"
)

func TestCacheKeepsItsBudget(t *testing.T) {
	const budget = 100 << 10
	x := index.New(budget)
	revision := uint64(1)
	put := func(key string) {
		revision++
		v := value.Make(make([]byte, 1000), -1, revision)
		x.Install([]index.Change{{Key: key, Revision: revision, Old: x.Get(key), New: index.NewItem(key, revision, v)}}, revision)
	}
	inMemory := func() (n int) {
		x.View("pods/").Ascend("pods/", "", func(it *index.Item) bool {
			if it.Value() != nil {
				n++
			}
			return true
		})
		return n
	}
	for round := range 5 {
		for i := range 500 {
			put(fmt.Sprintf("pods/a/p%03d", i))
			// What is read again and again stays.
			if it := x.Get("pods/a/p000"); it.Value() == nil {
				t.Fatalf("round %d: the hottest object was dropped", round)
			}
			if used := x.CacheBytes(); used > budget {
				t.Fatalf("%d bytes used of %d", used, budget)
			}
		}
	}
	n := inMemory()
	if n < 50 || n > 100 {
		t.Fatalf("%d of 500 objects in memory with room for some 85", n)
	}
	// Bytes that were read from disk take their place, and give it back on deletion.
	x.View("pods/").Ascend("pods/", "", func(it *index.Item) bool {
		x.Fill(it, value.Make(make([]byte, 1000), -1, it.Revision))
		return true
	})
	if used := x.CacheBytes(); used > budget || used < budget/2 {
		t.Fatalf("%d bytes used after filling", used)
	}
	for i := range 500 {
		key := fmt.Sprintf("pods/a/p%03d", i)
		revision++
		x.Install([]index.Change{{Key: key, Revision: revision, Old: x.Get(key)}}, revision)
	}
	if used, left := x.CacheBytes(), x.Len(); used != 0 || left != 0 {
		t.Fatalf("%d objects and %d bytes are left of nothing", left, used)
	}
}

func TestViewsStandStill(t *testing.T) {
	x := index.New(1 << 20)
	for i := range 100 {
		rev := uint64(i + 2)
		key := fmt.Sprintf("pods/a/p%03d", i)
		x.Install([]index.Change{{Key: key, Revision: rev, New: index.NewItem(key, rev, nil)}}, rev)
	}
	view := x.View("pods/")
	for i := range 100 {
		rev := uint64(i + 200)
		key := fmt.Sprintf("pods/a/p%03d", i)
		x.Install([]index.Change{{Key: key, Revision: rev, Old: x.Get(key)}}, rev)
	}
	n := 0
	view.Ascend("pods/", "pods/a/p049", func(it *index.Item) bool {
		n++
		return it.Revision < 200
	})
	if n != 50 || view.Count("pods/", "") != 100 || view.Count("pods/", "pods/a/p049") != 50 || view.Revision != 101 {
		t.Fatalf("the view changed: %d behind the middle, %d in all, at %d", n, view.Count("pods/", ""), view.Revision)
	}
	if now := x.View("pods/"); now.Count("pods/", "") != 0 || now.Changed != 299 {
		t.Fatalf("now %d objects, changed at %d", now.Count("pods/", ""), now.Changed)
	}
}

// What was replaced must go at once: the queue of the cache once kept as much of it as there
// were live objects.
func TestReplacedBytesAreNotKept(t *testing.T) {
	x := index.New(1 << 30)
	const key = "pods/a/p"
	put := func(revision uint64) weak.Pointer[byte] {
		v := value.Make(make([]byte, 1<<16), -1, revision)
		x.Install([]index.Change{{Key: key, Revision: revision, Old: x.Get(key), New: index.NewItem(key, revision, v)}}, revision)
		return weak.Make(&v[0])
	}
	var last, replaced weak.Pointer[byte]
	for revision := uint64(2); revision < 10; revision++ {
		replaced, last = last, put(revision)
	}
	runtime.GC()
	if last.Value() == nil {
		t.Error("the bytes of the live object have gone")
	}
	if replaced.Value() != nil {
		t.Error("replaced bytes are still in memory")
	}
	runtime.KeepAlive(x)
}
