package fairness

import (
	"math"

	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	"k8s.io/apiserver/pkg/util/shufflesharding"
)

// level is a priority level and what is under way in it. Its fields are guarded by the
// Controller's mutex.
type level struct {
	name, uid string
	exempt    bool
	// gone levels have been deleted and serve those that they have; removed ones have served
	// the last of them and are nobody's.
	gone, removed bool
	// nominal seats are the level's share; floor are those that it doesn't lend, ceiling
	// what it may have with all that it may borrow.
	nominal, floor, ceiling int
	// queues is empty where the level refuses what it has no seat for.
	queues    []queue
	dealer    *shufflesharding.Dealer
	hand      int
	maxLength int
	// clock is the virtual time of the level: that of the queue served last.
	clock float64
	// pace is what a request has lately taken, in seconds.
	pace float64

	inUse   int // seats
	running int // requests
	waiting int // requests
}

// configure takes what a configuration says; requests under way stay.
func (l *level) configure(c *flowcontrolv1.PriorityLevelConfiguration, shares, total int) {
	l.uid, l.gone = string(c.UID), false
	l.exempt = c.Spec.Type == flowcontrolv1.PriorityLevelEnablementExempt
	own, lendable, borrowing := sharesOf(&c.Spec)
	l.nominal = int(math.Ceil(float64(total) * float64(own) / float64(max(shares, 1))))
	l.floor = l.nominal - int(math.Round(float64(l.nominal)*float64(lendable)/100))
	l.ceiling = total
	if borrowing != nil {
		l.ceiling = min(total, l.nominal+int(math.Round(float64(l.nominal)*float64(*borrowing)/100)))
	}
	l.ceiling = max(l.ceiling, 1)
	q := queuingOf(&c.Spec)
	if q == nil {
		// Who waits in queues that are no more is served from them until they are empty.
		if l.waiting == 0 {
			l.queues = nil
		}
		l.dealer = nil
		return
	}
	if len(l.queues) < int(q.Queues) || l.waiting == 0 {
		queues := make([]queue, q.Queues)
		copy(queues, l.queues)
		l.queues = queues
	}
	l.hand, l.maxLength = int(q.HandSize), int(q.QueueLengthLimit)
	// The object's validation has seen to it that the numbers fit together; where they do
	// not, requests are refused.
	l.dealer, _ = shufflesharding.NewDealer(int(q.Queues), int(q.HandSize))
}

// sharesOf reads what a level has, lends (percent) and borrows (percent, nil without limit).
func sharesOf(s *flowcontrolv1.PriorityLevelConfigurationSpec) (own, lendable int32, borrowing *int32) {
	deref := func(p *int32, otherwise int32) int32 {
		if p == nil {
			return otherwise
		}
		return *p
	}
	switch {
	case s.Limited != nil:
		return deref(s.Limited.NominalConcurrencyShares, 30), deref(s.Limited.LendablePercent, 0), s.Limited.BorrowingLimitPercent
	case s.Exempt != nil:
		return deref(s.Exempt.NominalConcurrencyShares, 0), deref(s.Exempt.LendablePercent, 0), nil
	}
	return 0, 0, nil
}

func queuingOf(s *flowcontrolv1.PriorityLevelConfigurationSpec) *flowcontrolv1.QueuingConfiguration {
	if s.Limited == nil || s.Limited.LimitResponse.Type != flowcontrolv1.LimitResponseTypeQueue {
		return nil
	}
	return s.Limited.LimitResponse.Queuing
}

// widest is what a single request may have: no more than the level's own share, so that it
// can't wait for seats that never become free.
func (l *level) widest() int { return max(1, min(l.nominal, l.ceiling)) }

// reserved is what a level keeps others from having: nothing where it is exempt, even if some
// of its requests have seats from a time when it was not.
func (l *level) reserved() int {
	if l.exempt {
		return 0
	}
	return max(l.inUse, l.floor)
}

// retire makes a level lend all that its requests do not use.
func (l *level) retire() { l.gone, l.floor = true, 0 }

// pick returns the shortest of the queues that a flow may use.
func (l *level) pick(flow uint64) int {
	if l.dealer == nil {
		return 0
	}
	best := -1
	l.dealer.Deal(flow, func(i int) {
		if best < 0 || l.queues[i].load() < l.queues[best].load() {
			best = i
		}
	})
	return best
}

// head is the queue whose turn it is, or -1: the one that has had the least of what the
// level gave while they both had somebody waiting.
func (l *level) head() int {
	best := -1
	for i := range l.queues {
		if q := &l.queues[i]; len(q.waiting) > 0 && (best < 0 || q.clock < l.queues[best].clock) {
			best = i
		}
	}
	return best
}

// queue is some flows' requests that wait for a seat.
type queue struct {
	waiting []*waiter
	seats   int     // in use by what came from here
	clock   float64 // virtual time at which its next request begins
}

func (q *queue) load() int { return len(q.waiting) + q.seats }

// waiter is a request that waits.
type waiter struct {
	seats int
	queue int
	// charged is what its queue's clock was advanced by.
	charged float64
	// served is closed when the request has its seats.
	served chan struct{}
}

// enqueue puts a request at the end of a queue.
func (l *level) enqueue(w *waiter) {
	q := &l.queues[w.queue]
	if len(q.waiting) == 0 {
		// An idle queue saves nothing up.
		q.clock = max(q.clock, l.clock)
	}
	q.waiting = append(q.waiting, w)
	l.waiting++
}

// forget takes a request that waits no more out of its queue.
func (l *level) forget(w *waiter) {
	q := &l.queues[w.queue]
	for i, other := range q.waiting {
		if other == w {
			q.waiting = append(q.waiting[:i], q.waiting[i+1:]...)
			l.waiting--
			return
		}
	}
}

// serve takes the first request out of a queue and charges the queue for it.
func (l *level) serve(i int) *waiter {
	q := &l.queues[i]
	w := q.waiting[0]
	q.waiting[0] = nil
	q.waiting = q.waiting[1:]
	if len(q.waiting) == 0 {
		q.waiting = nil
	}
	l.waiting--
	l.clock = q.clock
	w.charged = l.pace * float64(w.seats)
	q.clock += w.charged
	q.seats += w.seats
	return w
}
