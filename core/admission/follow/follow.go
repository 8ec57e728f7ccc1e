package follow

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/pintle-dev/pintle/core/store"
)

// Log is what is followed; *store.Store implements it.
type Log interface {
	List(ctx context.Context, prefix store.Key, opts store.ListOptions) (store.Snapshot, error)
	Watch(ctx context.Context, prefix store.Key, after uint64) (*store.Watcher, error)
}

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

// retryDelay is the pause after a failed read of the store.
const retryDelay = 200 * time.Millisecond

// Run follows the bucket until ctx ends or the store is closed; it returns nil then. It is
// called once.
func (b *Bucket) Run(ctx context.Context, s Log) error {
	defer b.stop()
	known := map[string]bool{}
	for ctx.Err() == nil {
		err := b.follow(ctx, s, known)
		switch {
		case errors.Is(err, store.ErrCompacted):
			continue // history is gone: read everything again
		case errors.Is(err, store.ErrClosed) || ctx.Err() != nil:
			return nil
		}
		b.log.Warn("following stored objects failed; trying again", "bucket", b.prefix, "error", err)
		select {
		case <-ctx.Done():
		case <-time.After(retryDelay):
		}
	}
	return nil
}

// follow lists the bucket and then applies its events until one can't be had.
func (b *Bucket) follow(ctx context.Context, s Log, known map[string]bool) error {
	list, err := s.List(ctx, store.Key(b.prefix), store.ListOptions{})
	if err != nil {
		return fmt.Errorf("list %s: %w", b.prefix, err)
	}
	changes := make([]Change, 0, len(list.Objects))
	present := make(map[string]bool, len(list.Objects))
	for _, o := range list.Objects {
		name := b.name(o.Key)
		present[name], known[name] = true, true
		changes = append(changes, Change{name, o.Data, o.Revision})
	}
	for name := range known {
		if !present[name] {
			delete(known, name)
			changes = append(changes, Change{Name: name, Revision: list.Revision})
		}
	}
	b.take(changes, list.Revision)
	w, err := s.Watch(ctx, store.Key(b.prefix), list.Revision)
	if err != nil {
		return fmt.Errorf("watch %s: %w", b.prefix, err)
	}
	defer w.Close()
	for {
		events, err := w.Next(ctx)
		if err != nil {
			return fmt.Errorf("watch %s: %w", b.prefix, err)
		}
		changes := make([]Change, 0, len(events))
		for _, e := range events {
			c := Change{b.name(e.Key), e.Data, e.Revision}
			if e.Type == store.Deleted {
				c.Data = nil
				delete(known, c.Name)
			} else {
				known[c.Name] = true
			}
			changes = append(changes, c)
		}
		b.take(changes, events[len(events)-1].Revision)
	}
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
	for _, b := range s.Buckets {
		if strings.HasPrefix(string(w.Key), b.prefix) {
			b.Reach(ctx, o.Revision)
		}
	}
	return o, nil
}
