package store

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/dgraph-io/badger/v4"

	"github.com/pintle-dev/pintle/core/store/internal/engine"
	"github.com/pintle-dev/pintle/core/store/internal/index"
	"github.com/pintle-dev/pintle/core/store/internal/value"
)

// Get returns the newest applied state of an object, or ErrNotFound. It never blocks on
// the network.
func (s *Store) Get(ctx context.Context, key Key) (Object, error) {
	if s.isClosed() {
		return Object{}, ErrClosed
	}
	for {
		it := s.index.Get(string(key))
		if it == nil {
			return Object{}, ErrNotFound
		}
		o, err := s.object(it, true)
		if err == nil {
			return o, nil
		}
		// The version may have gone because a newer one has come since.
		if !errors.Is(err, ErrCompacted) || s.index.Get(string(key)) == it {
			return Object{}, fmt.Errorf("get %s: %w", key, err)
		}
		if err := ctx.Err(); err != nil {
			return Object{}, err
		}
	}
}

// object reads an item's bytes, from disk where memory does not have them. keep puts
// them in memory then.
func (s *Store) object(it *index.Item, keep bool) (Object, error) {
	v := it.Value()
	if v == nil {
		var err error
		if v, err = s.engine.Load(it.Key, it.Revision); err != nil {
			return Object{}, s.readError(err)
		}
		if keep {
			s.index.Fill(it, v)
		}
	}
	return Object{Key: Key(it.Key), Revision: it.Revision, Data: v.Data()}, nil
}

// readError gives the engine's errors the names that callers know.
func (s *Store) readError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, badger.ErrDBClosed) || s.isClosed():
		return ErrClosed
	case errors.Is(err, engine.ErrDamaged):
		s.noteDamage(err)
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	case errors.Is(err, engine.ErrCompacted):
		return fmt.Errorf("%w: %w", ErrCompacted, err)
	}
	return err
}

// List reads a prefix, "bucket/" or "bucket/namespace/", in key order. At a revision inside a
// transaction it reads at the transaction's last one, which Snapshot.Revision then is.
func (s *Store) List(ctx context.Context, prefix Key, opts ListOptions) (Snapshot, error) {
	var objects []Object
	snap, err := s.Range(ctx, prefix, opts, func(o Object) error {
		objects = append(objects, o)
		return nil
	})
	snap.Objects = objects
	return snap, err
}

// Range is List that hands out one object after the other and keeps none. The Snapshot it
// returns has no Objects.
func (s *Store) Range(ctx context.Context, prefix Key, opts ListOptions, fn func(Object) error) (Snapshot, error) {
	if err := s.checkPrefix(prefix, false); err != nil {
		return Snapshot{}, err
	}
	view := s.index.View(string(prefix))
	snap := Snapshot{Revision: view.Revision, Remaining: 0}
	if opts.Revision == 0 || opts.Revision == view.Revision {
		return s.rangeView(ctx, view, snap, prefix, opts, fn)
	}
	if opts.Revision > view.Revision {
		return Snapshot{}, fmt.Errorf("list of %s at revision %d: %w: the newest is %d",
			prefix, opts.Revision, ErrFutureRevision, view.Revision)
	}
	if err := s.checkHorizon(prefix, opts.Revision); err != nil {
		return Snapshot{}, err
	}
	var err error
	if opts.Revision, err = s.engine.SpanEnd(opts.Revision); err != nil {
		return Snapshot{}, fmt.Errorf("list of %s: %w", prefix, s.readError(err))
	}
	snap.Revision = opts.Revision
	if view.Changed <= opts.Revision {
		return s.rangeView(ctx, view, snap, prefix, opts, fn)
	}
	return s.rangeHistory(ctx, snap, prefix, opts, fn)
}

// maxPointReads is how many objects of one list are looked up on disk one by one; if more
// are not in memory, reading the rest in order is cheaper.
const maxPointReads = 4

// rangeView reads from memory, and from disk what is not there.
func (s *Store) rangeView(ctx context.Context, view index.View, snap Snapshot, prefix Key, opts ListOptions,
	fn func(Object) error,
) (Snapshot, error) {
	var (
		n, misses int
		last      = string(opts.After)
		err       error
	)
	view.Ascend(string(prefix), string(opts.After), func(it *index.Item) bool {
		if opts.Limit > 0 && n == opts.Limit {
			snap.More = true
			return false
		}
		if it.Value() == nil {
			if misses++; misses > maxPointReads {
				return false
			}
		}
		var o Object
		if o, err = s.object(it, false); err != nil {
			return false
		}
		n, last = n+1, it.Key
		if err = fn(o); err == nil && n%1024 == 0 {
			err = ctx.Err()
		}
		return err == nil
	})
	if err != nil {
		return Snapshot{}, fmt.Errorf("list of %s at revision %d: %w", prefix, snap.Revision, err)
	}
	if misses > maxPointReads {
		if opts.After = Key(last); opts.Limit > 0 {
			opts.Limit -= n
		}
		snap, err = s.rangeHistory(ctx, snap, prefix, opts, func(o Object) error {
			last = string(o.Key)
			return fn(o)
		})
		if err != nil {
			return Snapshot{}, err
		}
	}
	if snap.More {
		snap.Remaining = int64(view.Count(string(prefix), last))
	}
	return snap, nil
}

// rangeHistory reads from disk, as things were.
func (s *Store) rangeHistory(ctx context.Context, snap Snapshot, prefix Key, opts ListOptions,
	fn func(Object) error,
) (Snapshot, error) {
	n := 0
	err := s.engine.Scan(ctx, string(prefix), string(opts.After), snap.Revision,
		func(key string, version uint64, load func() (value.Value, error)) (bool, error) {
			if opts.Limit > 0 && n == opts.Limit {
				snap.More, snap.Remaining = true, -1
				return false, nil
			}
			n++
			v, err := load()
			if err != nil {
				return false, err
			}
			return true, fn(Object{Key: Key(key), Revision: version, Data: v.Data()})
		})
	if err == nil {
		// What was read is right only if the history was still there at the end.
		err = s.checkHorizon(prefix, snap.Revision)
	}
	if err != nil {
		return Snapshot{}, fmt.Errorf("list of %s at revision %d: %w", prefix, snap.Revision, s.readError(err))
	}
	return snap, nil
}

// Count of objects under a prefix.
func (s *Store) Count(prefix Key) int {
	return s.index.View(string(prefix)).Count(string(prefix), "")
}

// Revision is the newest applied revision. An empty store is at 1.
func (s *Store) Revision() uint64 { return s.index.Revision() }

// Horizon is the oldest revision that can be listed and watched from.
func (s *Store) Horizon() uint64 { return s.horizon.Load() }

func (s *Store) checkHorizon(prefix Key, revision uint64) error {
	if h := s.horizon.Load(); revision < h {
		return fmt.Errorf("list of %s at revision %d: %w: the history begins at %d", prefix, revision, ErrCompacted, h)
	}
	return nil
}

// checkPrefix wants "bucket/", "bucket/namespace/" or, where one object may be meant, a
// whole key.
func (s *Store) checkPrefix(prefix Key, object bool) error {
	if s.isClosed() {
		return ErrClosed
	}
	p := string(prefix)
	slashes := strings.Count(p, "/")
	if strings.HasPrefix(p, "/") || slashes < 1 || slashes > 2 || (!strings.HasSuffix(p, "/") && (!object || slashes != 2)) {
		return fmt.Errorf("prefix %q: want \"bucket/\" or \"bucket/namespace/\"", p)
	}
	return nil
}
