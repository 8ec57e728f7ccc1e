package fairness

import (
	"context"
	"errors"
	"hash/maphash"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pintle-dev/pintle/core/auth"
)

// Config of a Controller.
type Config struct {
	// Seats is how many requests may be served at once, exempt ones aside.
	Seats int
	// QueueWait bounds how long a request waits for its turn; 0 means 15 s.
	QueueWait time.Duration
	// Metrics receives the flow control's metrics; nil keeps them to itself.
	Metrics prometheus.Registerer
	Logger  *slog.Logger
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// ErrRejected is wrapped by what Admit returns for a request that is to be tried again
// later.
var ErrRejected = errors.New("too many requests")

// Controller admits requests.
type Controller struct {
	cfg     Config
	seed    maphash.Seed
	metrics *metrics

	schemas atomic.Pointer[[]*schema] // in the order they are tried

	mu       sync.Mutex
	levels   map[string]*level
	reserved int // sum over all limited levels
	pool     int // seats that there are: cfg.Seats and what rounding the shares up adds
	waiting  int // requests in all queues

	objects objects
}

// New returns a Controller that knows the objects that every cluster has; Run follows
// those in the store.
func New(cfg Config) (*Controller, error) {
	if cfg.QueueWait == 0 {
		cfg.QueueWait = 15 * time.Second
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	m, err := newMetrics(cfg.Metrics)
	if err != nil {
		return nil, err
	}
	c := &Controller{cfg: cfg, seed: maphash.MakeSeed(), metrics: m, levels: map[string]*level{}}
	c.objects.init()
	if cfg.Metrics != nil {
		if err := register(cfg.Metrics, states{c}); err != nil {
			return nil, err
		}
	}
	c.rebuild()
	return c, nil
}

// Ticket is an admitted request's; Release gives its seats back.
type Ticket struct {
	// SchemaUID and LevelUID are of the objects by which the request was admitted; they
	// are empty until the objects have been read.
	SchemaUID, LevelUID string

	controller *Controller
	level      *level
	seats      int
	queue      int // -1 where it has not waited
	charged    float64
	began      time.Time
}

// classify finds the schema of a request; the last one matches everything.
func (c *Controller) classify(a *auth.Attributes) *schema {
	all := *c.schemas.Load()
	for _, s := range all[:len(all)-1] {
		if s.matches(a) {
			return s
		}
	}
	return all[len(all)-1]
}

// Admit waits until a request that is as wide as seats may be served. The error wraps
// ErrRejected where it may not be, or not in time; the ticket then says only by which
// objects. A ticket of an admitted request must be released.
func (c *Controller) Admit(ctx context.Context, a *auth.Attributes, seats int) (Ticket, error) {
	s := c.classify(a)
	l := s.level
	c.mu.Lock()
	if l.removed { // a moment ago; every cluster has the last schema's
		all := *c.schemas.Load()
		s = all[len(all)-1]
		l = s.level
	}
	t := Ticket{SchemaUID: s.uid, queue: -1}
	t.LevelUID = l.uid
	if l.exempt {
		l.running++
		c.mu.Unlock()
		s.metrics.dispatched.Inc()
		t.controller, t.level = c, l
		return t, nil
	}
	t.seats = min(max(seats, 1), l.widest())
	if l.waiting == 0 && c.fits(l, t.seats) {
		c.take(l, t.seats)
		c.mu.Unlock()
		s.metrics.dispatched.Inc()
		t.controller, t.level, t.began = c, l, c.cfg.Now()
		return t, nil
	}
	if l.dealer == nil {
		c.mu.Unlock()
		return t, c.reject(s, "concurrency-limit")
	}
	w := &waiter{seats: t.seats, served: make(chan struct{}), queue: l.pick(c.flow(s, a))}
	if len(l.queues[w.queue].waiting) >= l.maxLength {
		c.mu.Unlock()
		return t, c.reject(s, "queue-full")
	}
	l.enqueue(w)
	c.waiting++
	c.mu.Unlock()
	return c.wait(ctx, s, w, t)
}

// wait until a queued request has its turn.
func (c *Controller) wait(ctx context.Context, s *schema, w *waiter, t Ticket) (Ticket, error) {
	start := c.cfg.Now()
	timer := time.NewTimer(c.cfg.QueueWait)
	defer timer.Stop()
	reason := ""
	select {
	case <-w.served:
	case <-ctx.Done():
		reason = "cancelled"
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			reason = "time-out"
		}
	case <-timer.C:
		reason = "time-out"
	}
	if reason != "" {
		c.mu.Lock()
		select {
		case <-w.served: // in the last moment
			reason = ""
		default:
			s.level.forget(w)
			c.waiting--
			c.dispatch() // who waited behind it
			c.bury(s.level)
		}
		c.mu.Unlock()
	}
	s.metrics.waited.Observe(c.cfg.Now().Sub(start).Seconds())
	if reason != "" {
		return t, c.reject(s, reason)
	}
	s.metrics.dispatched.Inc()
	t.controller, t.level, t.queue, t.charged, t.began = c, s.level, w.queue, w.charged, c.cfg.Now()
	return t, nil
}

func (c *Controller) reject(s *schema, reason string) error {
	c.metrics.rejected.WithLabelValues(s.level.name, s.name, reason).Inc()
	return rejected{schema: s.name, level: s.level.name, reason: reason}
}

type rejected struct{ schema, level, reason string }

func (r rejected) Error() string {
	return "too many requests of flow schema " + r.schema + " in priority level " + r.level + " (" + r.reason + ")"
}

func (r rejected) Unwrap() error { return ErrRejected }

// flow identifies a flow among all.
func (c *Controller) flow(s *schema, a *auth.Attributes) uint64 {
	return maphash.String(c.seed, s.name+"\x00"+s.distinguisher(a))
}

// fits reports whether a level may have more seats. c.mu is held.
func (c *Controller) fits(l *level, seats int) bool {
	if l.exempt {
		return true
	}
	after := l.inUse + seats
	if after > l.ceiling {
		return false
	}
	// What it doesn't lend is its own at any time.
	return after <= l.floor || c.reserved-l.reserved()+max(after, l.floor) <= c.pool
}

// take gives seats to a level. c.mu is held.
func (c *Controller) take(l *level, seats int) {
	before := l.reserved()
	l.inUse += seats
	l.running++
	c.reserved += l.reserved() - before
}

// Release gives the ticket's seats to whoever waits.
func (t *Ticket) Release() {
	c, l := t.controller, t.level
	if c == nil {
		return
	}
	t.controller = nil
	c.mu.Lock()
	defer c.mu.Unlock()
	defer c.bury(l)
	l.running--
	if t.seats == 0 {
		return // exempt
	}
	took := c.cfg.Now().Sub(t.began).Seconds()
	before := l.reserved()
	l.inUse -= t.seats
	c.reserved += l.reserved() - before
	if t.queue >= 0 && t.queue < len(l.queues) {
		q := &l.queues[t.queue]
		q.seats = max(q.seats-t.seats, 0)
		// It was charged what a request takes; now it is known what this one took.
		q.clock += took*float64(t.seats) - t.charged
	}
	l.pace += (took - l.pace) / 16
	c.dispatch()
}

// bury forgets a level that has been deleted once nobody uses it. c.mu is held.
func (c *Controller) bury(l *level) {
	if !l.gone || l.removed || l.running > 0 || l.waiting > 0 {
		return
	}
	l.removed = true
	c.reserved -= l.reserved()
	delete(c.levels, l.name)
	c.metrics.nominal.DeleteLabelValues(l.name)
}

// dispatch gives free seats to those who wait: first to levels that have least of their
// share. c.mu is held.
func (c *Controller) dispatch() {
	for c.waiting > 0 {
		var next *level
		for _, l := range c.levels {
			if l.waiting == 0 || next != nil && l.inUse*max(next.nominal, 1) >= next.inUse*max(l.nominal, 1) {
				continue
			}
			if i := l.head(); i >= 0 && c.fits(l, l.queues[i].waiting[0].seats) {
				next = l
			}
		}
		if next == nil {
			return
		}
		w := next.serve(next.head())
		c.waiting--
		c.take(next, w.seats)
		close(w.served)
	}
}
