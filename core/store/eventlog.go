package store

import (
	"sort"
	"strings"
	"sync"

	"github.com/pintle-dev/pintle/core/store/internal/fsm"
	"github.com/pintle-dev/pintle/core/store/internal/index"
)

// eventLog keeps the newest events of every bucket, up to a number of bytes in all. It
// has one writer and any number of cursors, which are only revisions: who is behind the
// oldest event kept reads the stored history, so nobody holds anybody up.
type eventLog struct {
	budget int64

	mu    sync.RWMutex
	bytes int64
	// published is the revision up to which all events have been added.
	published uint64
	// floor is where buckets without any event begin.
	floor   uint64
	buckets map[string]*bucketLog
	// order is the buckets of all events kept, oldest first.
	order fifo[*bucketLog]
}

// bucketLog is the events of one bucket with a revision greater than floor.
type bucketLog struct {
	floor  uint64
	events fifo[*Event]
	topics map[string]*topic
}

// topic wakes the watchers of one prefix.
type topic struct {
	watchers int // under eventLog.mu
	touched  bool

	mu sync.Mutex
	ch chan struct{}
}

// wait returns a channel that is closed at the next event.
func (t *topic) wait() <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ch == nil {
		t.ch = make(chan struct{})
	}
	return t.ch
}

func (t *topic) wake() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ch != nil {
		close(t.ch)
		t.ch = nil
	}
}

// eventOverhead is what an event costs in memory besides its objects.
const eventOverhead = 256

// eventSize counts both states of the object, though each may be shared with the index or
// with another event: once those have let go of it, the event alone keeps it in memory.
func eventSize(data, prev int) int64 { return int64(data) + int64(prev) + eventOverhead }

func newEventLog(budget int64, published uint64, changed map[string]uint64) *eventLog {
	l := &eventLog{budget: budget, buckets: map[string]*bucketLog{}}
	l.begin(published, 0, changed)
	return l
}

// begin forgets all events: those up to published are in the stored history only. changed
// has the newest event of each bucket, so that who has seen it need not look there.
func (l *eventLog) begin(published, floor uint64, changed map[string]uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.bytes, l.order = 0, fifo[*bucketLog]{}
	l.published, l.floor = published, floor
	for _, b := range l.buckets {
		b.floor, b.events = max(floor, b.floor), fifo[*Event]{}
	}
	for name, revision := range changed {
		b := l.bucketLocked(name)
		b.floor = max(floor, revision)
	}
	for _, b := range l.buckets {
		for _, t := range b.topics {
			t.wake()
		}
	}
}

func (l *eventLog) bucketLocked(name string) *bucketLog {
	b := l.buckets[name]
	if b == nil {
		b = &bucketLog{floor: l.floor, topics: map[string]*topic{}}
		l.buckets[strings.Clone(name)] = b
	}
	return b
}

// add appends the events of changes, which lead to revision, and wakes their watchers.
func (l *eventLog) add(changes []fsm.Change, revision uint64) {
	var wake []*topic
	l.mu.Lock()
	for i := range changes {
		c := &changes[i]
		b := l.bucketLocked(index.Bucket(c.Key))
		b.events.push(newEvent(c))
		l.order.push(b)
		l.bytes += eventSize(len(c.Value.Data()), len(c.Prev.Data()))
		if len(b.topics) > 0 {
			wake = b.touch(c.Key, wake)
		}
	}
	for l.bytes > l.budget && l.order.n > 0 {
		b := l.order.pop()
		ev := b.events.pop()
		b.floor = ev.Revision
		l.bytes -= eventSize(len(ev.Data), len(ev.Prev))
	}
	if l.order.n == 0 {
		l.bytes = 0
	}
	l.published = revision
	l.mu.Unlock()
	for _, t := range wake {
		t.touched = false
		t.wake()
	}
}

// touch adds the topics that an event of key concerns to wake.
func (b *bucketLog) touch(key string, wake []*topic) []*topic {
	first := strings.IndexByte(key, '/') + 1
	second := first + strings.IndexByte(key[first:], '/') + 1
	for _, prefix := range [...]string{key[:first], key[:second], key} {
		if t := b.topics[prefix]; t != nil && !t.touched {
			t.touched = true
			wake = append(wake, t)
		}
	}
	return wake
}

func newEvent(c *fsm.Change) *Event {
	ev := &Event{Key: Key(c.Key), Revision: c.Revision, Data: c.Value.Data(), Prev: c.Prev.Data()}
	switch {
	case c.New == nil:
		ev.Type = Deleted
	case c.Old == nil:
		ev.Type = Added
	default:
		ev.Type = Modified
	}
	ev.sealed = c.Value == nil || c.Old != nil && c.Prev == nil
	return ev
}

// subscribe returns the topic of a prefix.
func (l *eventLog) subscribe(prefix string) *topic {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.bucketLocked(index.Bucket(prefix))
	t := b.topics[prefix]
	if t == nil {
		t = new(topic)
		b.topics[prefix] = t
	}
	t.watchers++
	return t
}

func (l *eventLog) unsubscribe(prefix string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.bucketLocked(index.Bucket(prefix))
	t := b.topics[prefix]
	if t.watchers--; t.watchers == 0 {
		delete(b.topics, prefix)
	}
}

// read returns up to limit events of prefix after the cursor and the revision up to which
// they are all; behind is set where events after the cursor are no longer here.
func (l *eventLog) read(prefix string, cursor uint64, limit int) (events []*Event, upTo uint64, behind bool) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	b := l.buckets[index.Bucket(prefix)]
	if b == nil {
		return nil, max(cursor, l.published), cursor < l.floor
	}
	if cursor < b.floor {
		return nil, cursor, true
	}
	n := b.events.n
	for i := sort.Search(n, func(i int) bool { return b.events.at(i).Revision > cursor }); i < n; i++ {
		ev := b.events.at(i)
		if !matches(prefix, string(ev.Key)) {
			continue
		}
		if len(events) == limit {
			return events, events[limit-1].Revision, false
		}
		events = append(events, ev)
	}
	return events, max(cursor, l.published), false
}

// newest is the revision up to which all events have been added.
func (l *eventLog) newest() uint64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.published
}

// matches says whether key is the one object that prefix names, or under it.
func matches(prefix, key string) bool {
	return strings.HasPrefix(key, prefix) && (len(key) == len(prefix) || prefix[len(prefix)-1] == '/')
}

// fifo is a queue in a circular buffer.
type fifo[T any] struct {
	buf     []T
	head, n int
}

func (f *fifo[T]) push(v T) {
	if f.n == len(f.buf) {
		buf := make([]T, max(16, 2*f.n))
		for i := range f.n {
			buf[i] = f.at(i)
		}
		f.buf, f.head = buf, 0
	}
	f.buf[(f.head+f.n)%len(f.buf)] = v
	f.n++
}

func (f *fifo[T]) pop() T {
	var zero T
	v := f.buf[f.head]
	f.buf[f.head] = zero
	f.head = (f.head + 1) % len(f.buf)
	f.n--
	return v
}

func (f *fifo[T]) at(i int) T { return f.buf[(f.head+i)%len(f.buf)] }
