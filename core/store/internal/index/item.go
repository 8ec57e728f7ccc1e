package index

import (
	"sync/atomic"

	"github.com/pintle-dev/pintle/core/store/internal/value"
)

// Item is one object version in the index. Key and Revision never change; the bytes may
// be dropped when memory is short, for they can be read from disk at Revision.
type Item struct {
	Key      string
	Revision uint64

	val atomic.Pointer[value.Value]
	// used is set by reads and cleared by the cache's hand.
	used atomic.Bool
	// counted and gone belong to the cache: the bytes are in its sum; the item has left
	// the index.
	counted, gone bool
	// slot is the item's place in the cache's queue, while it is counted.
	slot int
}

// NewItem makes an item; v may be nil where the bytes are only on disk.
func NewItem(key string, revision uint64, v value.Value) *Item {
	it := &Item{Key: key, Revision: revision}
	if v != nil {
		it.val.Store(&v)
	}
	return it
}

// Value is the item's bytes, or nil where they are only on disk.
func (it *Item) Value() value.Value {
	v := it.val.Load()
	if v == nil {
		return nil
	}
	if !it.used.Load() {
		it.used.Store(true)
	}
	return *v
}

// overhead of an item besides its bytes: key header, tree slot, pointers.
const overhead = 160

func (it *Item) size() int64 {
	v := it.val.Load()
	if v == nil {
		return 0
	}
	return int64(cap(*v)) + overhead
}
