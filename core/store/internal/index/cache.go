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

// add puts an item that has bytes under the budget.
func (c *cache) add(it *Item) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.addLocked(it)
}

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
		case it.gone:
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
			c.queue.dead++
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

// ring is a queue of items in a circular buffer; dead counts those that have left the
// index and wait to be swept.
type ring struct {
	buf     []*Item
	head, n int
	dead    int
}

func (r *ring) push(it *Item) {
	if r.n == len(r.buf) {
		buf := make([]*Item, max(64, 2*r.n))
		for i := range r.n {
			buf[i] = r.buf[(r.head+i)%len(r.buf)]
		}
		r.buf, r.head = buf, 0
	}
	r.buf[(r.head+r.n)%len(r.buf)] = it
	r.n++
}

func (r *ring) pop() *Item {
	it := r.buf[r.head]
	r.buf[r.head] = nil
	r.head = (r.head + 1) % len(r.buf)
	r.n--
	if it.gone {
		r.dead--
	}
	return it
}

// sweep takes the dead out, so that their bytes can be collected.
func (r *ring) sweep() {
	live := make([]*Item, 0, max(64, r.n-r.dead+16))
	for i := range r.n {
		if it := r.buf[(r.head+i)%len(r.buf)]; !it.gone {
			live = append(live, it)
		}
	}
	n := len(live)
	*r = ring{buf: live[:cap(live)], n: n}
}
