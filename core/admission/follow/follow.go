package follow

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/pintle-dev/pintle/core/follow"
	"github.com/pintle-dev/pintle/core/store"
)

// Log is what is followed; *store.Store implements it.
type Log = follow.Store

// Change is a change of one object.
type Change struct {
	// Name is NAMESPACE/NAME, with an empty namespace for objects of the cluster.
	Name string
	// Data of the object, nil where it is deleted. It is shared and must not be changed.
	Data     []byte
	Revision uint64
}

// Bucket is one bucket that is followed.
type Bucket struct {
	prefix string
	apply  func(changes []Change)
	log    *slog.Logger

	mu      sync.Mutex
	reached uint64
	// moved is closed when reached grows or the bucket is followed no more.
	moved   chan struct{}
	stopped bool
	ready   chan struct{}
}

// New returns a follower of a bucket of the store. apply takes changes over, one call after
// the other; the first call has all objects, even if there are none.
func New(bucket string, apply func(changes []Change), log *slog.Logger) *Bucket {
	if log == nil {
		log = slog.Default()
	}
	return &Bucket{prefix: bucket + "/", apply: apply, log: log, moved: make(chan struct{}), ready: make(chan struct{})}
}

// Ready is closed once all objects have been taken over.
func (b *Bucket) Ready() <-chan struct{} { return b.ready }

// Run follows the bucket until ctx ends or the store is closed; it returns nil then. It is
// called once.
func (b *Bucket) Run(ctx context.Context, s follow.Store) error {
	defer b.stop()
	c := &collector{bucket: b, known: map[store.Key]bool{}}
	follow.Bucket(ctx, s, strings.TrimSuffix(b.prefix, "/"), c, c.flush, b.log)
	return nil
}

// collector gathers what changes until it is complete for a revision.
type collector struct {
	bucket  *Bucket
	known   map[store.Key]bool
	changes []Change
}

var _ follow.Index = (*collector)(nil)

// Put implements follow.Index.
func (c *collector) Put(key store.Key, data []byte, revision uint64) {
	c.known[key] = true
	c.changes = append(c.changes, Change{c.bucket.name(key), data, revision})
}

// Remove implements follow.Index.
func (c *collector) Remove(key store.Key) {
	delete(c.known, key)
	c.changes = append(c.changes, Change{Name: c.bucket.name(key)})
}

// Keys implements follow.Index.
func (c *collector) Keys() []store.Key { return slices.Collect(maps.Keys(c.known)) }

func (c *collector) flush(revision uint64) {
	changes := c.changes
	c.changes = nil
	c.bucket.take(changes, revision)
}

func (b *Bucket) name(key store.Key) string { return strings.TrimPrefix(string(key), b.prefix) }

func (b *Bucket) take(changes []Change, revision uint64) {
	b.apply(changes)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.reached == 0 {
		close(b.ready)
	}
	b.reached = max(b.reached, revision, 1)
	close(b.moved)
	b.moved = make(chan struct{})
}

func (b *Bucket) stop() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.stopped = true
	close(b.moved)
	b.moved = make(chan struct{})
}

// Reach waits until the changes up to a revision have been taken over, until the bucket is
// followed no more, or until ctx ends.
func (b *Bucket) Reach(ctx context.Context, revision uint64) {
	for {
		b.mu.Lock()
		done, moved := b.reached >= revision || b.stopped, b.moved
		b.mu.Unlock()
		if done {
			return
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return
		}
	}
}

// Store is a store whose writes of followed buckets return when they have been taken over.
// Other writes cost a comparison for each bucket.
type Store struct {
	*store.Store
	Buckets []*Bucket
}

// Write writes as the store does.
func (s Store) Write(ctx context.Context, w store.Write) (store.Object, error) {
	o, err := s.Store.Write(ctx, w)
	if err != nil {
		return o, err //nolint:wrapcheck // the store's own errors, which callers know
	}
	s.reach(ctx, w.Key, o.Revision)
	return o, nil
}

// Transact writes together as the store does.
func (s Store) Transact(ctx context.Context, writes []store.Write) ([]store.Object, error) {
	objects, err := s.Store.Transact(ctx, writes)
	if err != nil {
		return objects, err //nolint:wrapcheck // the store's own errors, which callers know
	}
	for i, w := range writes {
		s.reach(ctx, w.Key, objects[i].Revision)
	}
	return objects, nil
}

func (s Store) reach(ctx context.Context, key store.Key, revision uint64) {
	for _, b := range s.Buckets {
		if strings.HasPrefix(string(key), b.prefix) {
			b.Reach(ctx, revision)
		}
	}
}
