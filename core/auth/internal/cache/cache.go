package cache

import (
	"sync"
	"time"
)

// Cache maps keys to values until they expire. It keeps at most two generations of size
// entries: when the young one is full it becomes the old one, and an old entry that is
// used again becomes young. So memory is bounded without a list to maintain on each use.
type Cache[K comparable, V any] struct {
	mu         sync.RWMutex
	size       int
	young, old map[K]entry[V]
}

type entry[V any] struct {
	value V
	until time.Time
}

// New returns a cache of at most 2×size entries.
func New[K comparable, V any](size int) *Cache[K, V] {
	return &Cache[K, V]{size: size, young: map[K]entry[V]{}}
}

// Get returns what was put under key, if it has not expired at now.
func (c *Cache[K, V]) Get(key K, now time.Time) (V, bool) {
	c.mu.RLock()
	e, ok := c.young[key]
	old := false
	if !ok {
		e, ok = c.old[key]
		old = ok
	}
	c.mu.RUnlock()
	if !ok || !now.Before(e.until) {
		var none V
		return none, false
	}
	if old {
		c.Put(key, e.value, e.until)
	}
	return e.value, true
}

// Put remembers value under key until the given time.
func (c *Cache[K, V]) Put(key K, value V, until time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.young) >= c.size {
		c.old, c.young = c.young, make(map[K]entry[V], c.size)
	}
	c.young[key] = entry[V]{value, until}
}
