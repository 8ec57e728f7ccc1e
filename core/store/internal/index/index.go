package index

import (
	"sort"
	"strings"
	"sync"

	"github.com/tidwall/btree"

	"github.com/pintle-dev/pintle/core/store/internal/value"
)

// degree of the trees: small enough that copying a node on write stays cheap.
const degree = 16

type tree = btree.Map[string, *Item]

// Index holds every live object. The zero value is not usable; see New.
type Index struct {
	cache cache

	mu       sync.RWMutex
	revision uint64
	count    int
	// digest is the sum of the fingerprints of all objects.
	digest  uint64
	buckets map[string]*bucket
}

type bucket struct {
	live *tree
	// frozen is a copy made for a reader, shared by later readers until the next change.
	frozen *tree
	// changed is the revision of the newest change, deletions among them.
	changed uint64
}

// New makes an empty index whose objects' bytes may use budget bytes.
func New(budget int64) *Index {
	return &Index{cache: cache{budget: budget}, digest: value.NoFingerprints, buckets: map[string]*bucket{}}
}

// Change replaces Old (nil: there was none) by New (nil: deleted) under Key.
type Change struct {
	Key      string
	Revision uint64
	Old, New *Item
}

// Bucket is the part of a key or prefix before the first slash.
func Bucket(key string) string {
	b, _, _ := strings.Cut(key, "/")
	return b
}

// Revision is the newest installed one.
func (x *Index) Revision() uint64 {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.revision
}

// State is the newest installed revision and the sum of the fingerprints of all objects at it.
func (x *Index) State() (revision, digest uint64) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.revision, x.digest
}

// Get finds an object.
func (x *Index) Get(key string) *Item {
	x.mu.RLock()
	defer x.mu.RUnlock()
	b := x.buckets[Bucket(key)]
	if b == nil {
		return nil
	}
	it, _ := b.live.Get(key)
	return it
}

// Install makes changes and the revision they lead to visible at once.
func (x *Index) Install(changes []Change, revision uint64) {
	x.mu.Lock()
	for i := range changes {
		x.installLocked(&changes[i])
	}
	x.revision = revision
	x.mu.Unlock()
	for i := range changes {
		x.cache.replace(changes[i].Old, changes[i].New)
	}
}

func (x *Index) installLocked(c *Change) {
	name := Bucket(c.Key)
	b := x.buckets[name]
	if b == nil {
		// A clone, so that the map does not keep the whole first key.
		b = &bucket{live: btree.NewMap[string, *Item](degree)}
		x.buckets[strings.Clone(name)] = b
	}
	b.frozen = nil
	b.changed = max(b.changed, c.Revision)
	if c.New == nil {
		if gone, ok := b.live.Delete(c.Key); ok {
			x.count--
			x.digest -= value.Fingerprint(gone.Key, gone.Revision)
		}
		return
	}
	x.digest += value.Fingerprint(c.New.Key, c.New.Revision)
	if old, replaced := b.live.Set(c.New.Key, c.New); replaced {
		x.digest -= value.Fingerprint(old.Key, old.Revision)
	} else {
		x.count++
	}
}

// Reset replaces everything, after a snapshot was installed.
func (x *Index) Reset(fresh *Index) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.cache.mu.Lock()
	defer x.cache.mu.Unlock()
	x.buckets, x.count, x.revision, x.digest = fresh.buckets, fresh.count, fresh.revision, fresh.digest
	x.cache.used, x.cache.queue = fresh.cache.used, fresh.cache.queue
}

// Fill gives bytes read from disk back to an item, if the budget has room for it.
func (x *Index) Fill(it *Item, v value.Value) { x.cache.fill(it, v) }

// Changed lists the buckets with the revision of each one's newest change.
func (x *Index) Changed() map[string]uint64 {
	x.mu.RLock()
	defer x.mu.RUnlock()
	m := make(map[string]uint64, len(x.buckets))
	for name, b := range x.buckets {
		m[name] = b.changed
	}
	return m
}

// Len is the number of live objects.
func (x *Index) Len() int {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.count
}

// CacheBytes is the memory that the objects' bytes use now.
func (x *Index) CacheBytes() int64 { return x.cache.bytes() }

// View is one bucket at one revision. Reading it blocks nobody.
type View struct {
	Revision uint64
	// Changed is the revision of the bucket's newest change: since then it is the same.
	Changed uint64
	t       *tree
}

// View returns the bucket of prefix as it is now.
func (x *Index) View(prefix string) View {
	name := Bucket(prefix)
	x.mu.RLock()
	v := View{Revision: x.revision}
	b := x.buckets[name]
	if b == nil || b.frozen != nil {
		if b != nil {
			v.t, v.Changed = b.frozen, b.changed
		}
		x.mu.RUnlock()
		return v
	}
	x.mu.RUnlock()

	x.mu.Lock()
	defer x.mu.Unlock()
	v.Revision = x.revision
	if b = x.buckets[name]; b != nil {
		if b.frozen == nil {
			b.frozen = b.live.Copy()
		}
		v.t, v.Changed = b.frozen, b.changed
	}
	return v
}

// Ascend calls fn for the objects under prefix behind after, in key order, until it
// returns false.
func (v View) Ascend(prefix, after string, fn func(*Item) bool) {
	if v.t == nil {
		return
	}
	pivot := prefix
	if after > pivot {
		pivot = after
	}
	v.t.Ascend(pivot, func(k string, it *Item) bool {
		if !strings.HasPrefix(k, prefix) {
			return false
		}
		if after != "" && k <= after {
			return true
		}
		return fn(it)
	})
}

// Count is the number of objects under prefix behind after.
func (v View) Count(prefix, after string) int {
	if v.t == nil {
		return 0
	}
	n := v.t.Len()
	end := sort.Search(n, func(i int) bool {
		k, _, _ := v.t.GetAt(i)
		return k > prefix && !strings.HasPrefix(k, prefix)
	})
	begin := sort.Search(end, func(i int) bool {
		k, _, _ := v.t.GetAt(i)
		return k >= prefix && (after == "" || k > after)
	})
	return end - begin
}
