package apiserver

import (
	"container/list"
	"sync"

	"github.com/pintle-dev/pintle/core/store"
)

// derivedCache keeps encodings that are derived from stored objects (protobuf), within a
// budget of bytes. The least recently used go first.
type derivedCache struct {
	mu    sync.Mutex
	limit int64
	size  int64
	order *list.List // of *derivedEntry, the newest in front
	m     map[derivedKey]*list.Element
}

type derivedKey struct {
	key        store.Key
	revision   uint64
	apiVersion string
	view       uint8
}

type derivedEntry struct {
	key  derivedKey
	data []byte
}

// derivedOverhead is what an entry costs beside its bytes.
const derivedOverhead = 256

func (c *derivedCache) get(k derivedKey, encode func() ([]byte, error)) ([]byte, error) {
	c.mu.Lock()
	if e, ok := c.m[k]; ok {
		c.order.MoveToFront(e)
		d, _ := e.Value.(*derivedEntry)
		c.mu.Unlock()
		return d.data, nil
	}
	c.mu.Unlock()
	data, err := encode()
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.m == nil {
		c.order, c.m = list.New(), map[derivedKey]*list.Element{}
	}
	cost := int64(len(data) + derivedOverhead)
	if _, ok := c.m[k]; ok || cost > c.limit/4 {
		return data, nil
	}
	c.m[k] = c.order.PushFront(&derivedEntry{k, data})
	c.size += cost
	for c.size > c.limit {
		last := c.order.Back()
		d, _ := c.order.Remove(last).(*derivedEntry)
		delete(c.m, d.key)
		c.size -= int64(len(d.data) + derivedOverhead)
	}
	return data, nil
}
