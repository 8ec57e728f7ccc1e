package openapi

import (
	"sync"
	"time"
)

// docKey names a rendered document: what it is and the hash of what it was made from.
type docKey struct{ id, hash string }

// cache keeps rendered documents under a bound in bytes and lets all go when nobody has
// asked for one for a while: clients fetch documents in bursts and keep their own copies.
type cache struct {
	mu    sync.Mutex
	limit int
	idle  time.Duration
	size  int
	docs  map[docKey][]byte
	order []docKey // oldest use first
	timer *time.Timer
}

func newCache(limit int, idle time.Duration) *cache {
	return &cache{limit: limit, idle: idle, docs: map[docKey][]byte{}}
}

func (c *cache) get(k docKey) ([]byte, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	body, ok := c.docs[k]
	if ok {
		c.used(k)
	}
	return body, ok
}

func (c *cache) put(k docKey, body []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(body) > c.limit || c.docs[k] != nil {
		return
	}
	for old := range c.docs {
		if old.id == k.id {
			c.drop(old) // made from what has changed since
		}
	}
	for c.size+len(body) > c.limit {
		c.drop(c.order[0])
	}
	c.docs[k] = body
	c.size += len(body)
	c.used(k)
}

// used moves k to the end of the order and starts the idle time anew.
func (c *cache) used(k docKey) {
	c.forget(k)
	c.order = append(c.order, k)
	if c.timer == nil {
		c.timer = time.AfterFunc(c.idle, c.clear)
		return
	}
	c.timer.Reset(c.idle)
}

func (c *cache) forget(k docKey) {
	for i := range c.order {
		if c.order[i] == k {
			c.order = append(c.order[:i], c.order[i+1:]...)
			return
		}
	}
}

func (c *cache) drop(k docKey) {
	c.size -= len(c.docs[k])
	delete(c.docs, k)
	c.forget(k)
}

func (c *cache) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.docs, c.order, c.size = map[docKey][]byte{}, nil, 0
}
