package index

import (
	"sync"

	"github.com/pintle-dev/pintle/core/store/internal/value"
)

// cache decides whose bytes stay in memory: a second-chance queue (CLOCK) over items with
// a budget in bytes. Reads only set a flag on their item and never lock.
type cache struct {
	mu     sync.Mutex
	budget int64
	used   int64
	queue  ring
}

// addLocked puts an item that has bytes under the budget.
func (c *cache) addLocked(it *Item) {
	if it.gone || it.counted || it.val.Load() == nil {
		return
	}
	it.counted = true
	c.used += it.size()
	c.queue.push(it)
	c.shrinkLocked()
}

// shrinkLocked drops bytes until the budget holds. An item read since the hand last
// passed gets a second chance.
func (c *cache) shrinkLocked() {
	for n := 2 * c.queue.n; c.used > c.budget && n > 0; n-- {
		it := c.queue.pop()
		switch {
		case it == nil:
		case it.used.Load():
			it.used.Store(false)
			c.queue.push(it)
		default:
			c.used -= it.size()
			it.counted = false
			it.val.Store(nil)
		}
	}
}

// replace takes an item that left the index out and puts its successor in.
func (c *cache) replace(old, it *Item) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if old != nil && !old.gone {
		old.gone = true
		if old.counted {
			c.used -= old.size()
			c.queue.remove(old)
		}
	}
	if it != nil {
		c.addLocked(it)
	}
	if c.queue.dead > 64 && c.queue.dead > c.queue.n/2 {
		c.queue.sweep()
	}
}

// fill gives bytes back to an item that was read from disk.
func (c *cache) fill(it *Item, v value.Value) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if it.gone || it.counted {
		return
	}
	it.val.Store(&v)
	it.used.Store(true)
	c.addLocked(it)
}

func (c *cache) bytes() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.used
}

// ring is a queue of items in a circular buffer. An item that leaves the index leaves its
// place empty, so that its bytes can be collected; dead counts such places.
type ring struct {
	buf     []*Item
	head, n int
	dead    int
}

func (r *ring) push(it *Item) {
	if r.n == len(r.buf) {
		r.move(max(64, 2*r.n))
	}
	it.slot = (r.head + r.n) % len(r.buf)
	r.buf[it.slot] = it
	r.n++
}

// pop takes the item at the head, nil where there is none any more.
func (r *ring) pop() *Item {
	it := r.buf[r.head]
	r.buf[r.head] = nil
	r.head = (r.head + 1) % len(r.buf)
	r.n--
	if it == nil {
		r.dead--
	}
	return it
}

func (r *ring) remove(it *Item) {
	r.buf[it.slot] = nil
	r.dead++
}

// sweep closes up the empty places.
func (r *ring) sweep() { r.move(max(64, r.n-r.dead+16)) }

// move puts the items, without empty places, into a buffer of a size.
func (r *ring) move(size int) {
	buf, n := make([]*Item, size), 0
	for i := range r.n {
		if it := r.buf[(r.head+i)%len(r.buf)]; it != nil {
			buf[n], it.slot = it, n
			n++
		}
	}
	*r = ring{buf: buf, n: n}
}
