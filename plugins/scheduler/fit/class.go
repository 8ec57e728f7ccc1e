package fit

import (
	"container/heap"

	"github.com/pintle-dev/pintle/plugins/scheduler/cache"
)

// class ranks the nodes for the pods that ask the same of them.
type class struct {
	demand *demand
	seq    uint64 // state of the cache that the ranking reflects
	used   uint64 // for replacing the class that was not used for longest
	// score and place are by slot; place is -1 where a node does not fit.
	score []int64
	place []int32
	heap  []int32 // slots
	// failure explains an empty heap at sequence failedAt.
	failure  *Error
	failedAt uint64
}

// sync brings the ranking up to date.
func (c *class) sync(snapshot *cache.Cache) {
	slots := snapshot.Slots()
	for len(c.score) < len(slots) {
		c.score = append(c.score, 0)
		c.place = append(c.place, -1)
	}
	if c.seq == 0 || !snapshot.Since(c.seq, func(slot int) { c.update(slot, slots[slot]) }) {
		for slot, n := range slots {
			c.update(slot, n)
		}
	}
	c.seq = snapshot.Sequence()
}

func (c *class) update(slot int, n *cache.NodeInfo) {
	fits := n != nil && n.Node != nil && c.demand.fits(n, nil)
	at := c.place[slot]
	switch {
	case fits:
		c.score[slot] = c.demand.score(n)
		if at >= 0 {
			heap.Fix((*ranking)(c), int(at))
		} else {
			heap.Push((*ranking)(c), int32(slot))
		}
	case at >= 0:
		heap.Remove((*ranking)(c), int(at))
	}
}

// best returns the slot of the best node, or -1.
func (c *class) best() int {
	if len(c.heap) == 0 {
		return -1
	}
	return int(c.heap[0])
}

// ranking is the heap of a class, the best node first.
type ranking class

func (r *ranking) Len() int { return len(r.heap) }

func (r *ranking) Less(i, j int) bool {
	a, b := r.heap[i], r.heap[j]
	if r.score[a] != r.score[b] {
		return r.score[a] > r.score[b]
	}
	return a < b
}

func (r *ranking) Swap(i, j int) {
	r.heap[i], r.heap[j] = r.heap[j], r.heap[i]
	r.place[r.heap[i]], r.place[r.heap[j]] = int32(i), int32(j)
}

func (r *ranking) Push(x any) {
	slot := x.(int32)
	r.place[slot] = int32(len(r.heap))
	r.heap = append(r.heap, slot)
}

func (r *ranking) Pop() any {
	last := r.heap[len(r.heap)-1]
	r.heap = r.heap[:len(r.heap)-1]
	r.place[last] = -1
	return last
}
