package queue

import (
	"maps"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/pintle-dev/pintle/plugins/scheduler/model"
)

// leftover is how long a pod waits for an event before it is tried once more anyway.
const leftover = 5 * time.Minute

// sweepEvery is how often pods that have waited that long are looked for.
const sweepEvery = 30 * time.Second

type state uint8

const (
	inactive state = iota // popped, in the hands of the caller
	active
	backingOff
	unschedulable
	gated
)

// Item is a pod that waits.
type Item struct {
	Pod *model.Pod
	// Attempts is how often the pod was tried.
	Attempts int

	state  state
	place  int
	order  uint64
	failed time.Time
	ready  time.Time // end of the back-off
	causes uint16
}

// Queue holds the pods that wait.
type Queue struct {
	initial, max time.Duration
	now          func() time.Time
	items        map[types.UID]*Item
	active       ordered
	backoff      ordered
	waiting      map[types.UID]*Item
	order        uint64
	sweep        time.Time
}

// New returns an empty queue. Back-off doubles from initial to max with each failure.
func New(initial, maximum time.Duration, now func() time.Time) *Queue {
	return &Queue{
		initial: initial, max: maximum, now: now,
		items:   map[types.UID]*Item{},
		waiting: map[types.UID]*Item{},
		active: ordered{less: func(a, b *Item) bool {
			if a.Pod.Priority != b.Pod.Priority {
				return a.Pod.Priority > b.Pod.Priority
			}
			return a.order < b.order
		}},
		backoff: ordered{less: func(a, b *Item) bool { return a.ready.Before(b.ready) }},
	}
}

// Has reports whether a pod is known.
func (q *Queue) Has(uid types.UID) bool { return q.items[uid] != nil }

// Set takes a pod that has no node: a new one, or a change of one that waits. A change
// that scheduling can see makes the pod be tried again.
func (q *Queue) Set(p *model.Pod) {
	item := q.items[p.UID]
	if item == nil {
		q.order++
		item = &Item{Pod: p, order: q.order}
		q.items[p.UID] = item
		if p.Gated {
			item.state = gated
			return
		}
		q.activate(item)
		return
	}
	old := item.Pod
	item.Pod = p
	switch item.state {
	case active:
		if p.Gated {
			q.active.remove(item)
			item.state = gated
		} else {
			q.active.fix(item)
		}
	case gated:
		if !p.Gated {
			q.activate(item)
		}
	case unschedulable:
		if differs(old, p) {
			delete(q.waiting, p.UID)
			q.retry(item)
		}
	case backingOff, inactive:
	}
}

// differs reports whether a change of a pod could make it fit.
func differs(a, b *model.Pod) bool {
	return a.Class != b.Class || a.Priority != b.Priority || len(a.Claims) != len(b.Claims) || !maps.Equal(a.Labels, b.Labels)
}

// Delete forgets a pod.
func (q *Queue) Delete(uid types.UID) {
	item := q.items[uid]
	if item == nil {
		return
	}
	delete(q.items, uid)
	switch item.state {
	case active:
		q.active.remove(item)
	case backingOff:
		q.backoff.remove(item)
	case unschedulable:
		delete(q.waiting, uid)
	case gated, inactive:
	}
}

// Pop returns the pod to be tried next, or nil. The pod stays known; the caller says
// what became of it by Delete, Wait or Retry.
func (q *Queue) Pop() *Item {
	item := q.active.first()
	if item == nil {
		return nil
	}
	q.active.remove(item)
	item.state = inactive
	item.Attempts++
	return item
}

// Wait puts a popped pod aside until Move is called with one of its causes.
func (q *Queue) Wait(item *Item, causes uint16) {
	if !q.holds(item) {
		return
	}
	item.causes = causes
	q.fail(item)
	item.state = unschedulable
	q.waiting[item.Pod.UID] = item
}

// Retry puts a popped pod back for another try after its back-off.
func (q *Queue) Retry(item *Item) {
	if !q.holds(item) {
		return
	}
	q.fail(item)
	q.retry(item)
}

// Holds reports whether a popped pod is still known and nobody has said what became of it.
func (q *Queue) Holds(item *Item) bool { return q.holds(item) }

func (q *Queue) holds(item *Item) bool {
	return q.items[item.Pod.UID] == item && item.state == inactive
}

func (q *Queue) fail(item *Item) {
	item.failed = q.now()
	d := q.initial
	for i := 1; i < item.Attempts && d < q.max; i++ {
		d *= 2
	}
	item.ready = item.failed.Add(min(d, q.max))
}

func (q *Queue) retry(item *Item) {
	if item.Pod.Gated {
		item.state = gated
		return
	}
	if !item.ready.After(q.now()) {
		q.activate(item)
		return
	}
	item.state = backingOff
	q.backoff.push(item)
}

func (q *Queue) activate(item *Item) {
	item.state = active
	q.active.push(item)
}

// Move makes the pods that wait for one of the causes be tried again, after what is left
// of their back-off. hint, if not nil, may spare those that the event can't help.
func (q *Queue) Move(causes uint16, hint func(*model.Pod) bool) {
	for uid, item := range q.waiting {
		if item.causes&causes == 0 || (hint != nil && !hint(item.Pod)) {
			continue
		}
		delete(q.waiting, uid)
		q.retry(item)
	}
}

// Flush activates the pods whose back-off is over and those that have waited very long.
// It returns when it should be called again, the zero time if no pod waits.
func (q *Queue) Flush() time.Time {
	now := q.now()
	for item := q.backoff.first(); item != nil && !item.ready.After(now); item = q.backoff.first() {
		q.backoff.remove(item)
		q.activate(item)
	}
	if !q.sweep.After(now) {
		q.sweep = now.Add(sweepEvery)
		for uid, item := range q.waiting {
			if !item.failed.Add(leftover).After(now) {
				delete(q.waiting, uid)
				q.activate(item)
			}
		}
	}
	var next time.Time
	if len(q.waiting) > 0 {
		next = q.sweep
	}
	if item := q.backoff.first(); item != nil && (next.IsZero() || item.ready.Before(next)) {
		next = item.ready
	}
	return next
}

// Len returns how many pods are to be tried now, back off, and wait for an event.
func (q *Queue) Len() (now, backingOff, waiting int) {
	return q.active.Len(), q.backoff.Len(), len(q.waiting)
}
