package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/dgraph-io/badger/v4"

	"github.com/pintle-dev/pintle/core/store/internal/value"
)

// Get reads the version of key that was the newest at revision; found is false where the
// object did not exist then.
func (e *Engine) Get(key string, revision uint64) (v value.Value, version uint64, found bool, err error) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	if e.db == nil {
		return nil, 0, false, badger.ErrDBClosed
	}
	txn := e.db.NewTransactionAt(revision, false)
	defer txn.Discard()
	it, err := txn.Get(objectKey(key))
	if errors.Is(err, badger.ErrKeyNotFound) {
		return nil, 0, false, nil
	}
	if err != nil {
		return nil, 0, false, fmt.Errorf("reading %s: %w", key, err)
	}
	b, err := valueOf(it)
	if err == nil {
		b, err = e.Open(key, it.Version(), b)
	}
	if err != nil {
		return nil, 0, false, fmt.Errorf("reading %s: %w", key, err)
	}
	return b, it.Version(), true, nil
}

// Load reads exactly the version of key that revision wrote.
func (e *Engine) Load(key string, revision uint64) (value.Value, error) {
	v, version, found, err := e.Get(key, revision)
	if err != nil {
		return nil, err
	}
	if !found || version != revision {
		return nil, fmt.Errorf("%w: %s at revision %d", ErrCompacted, key, revision)
	}
	return v, nil
}

// Scan calls fn with the objects under prefix behind after as they were at revision, in
// key order, until fn returns false. load reads an object's bytes, which are the
// caller's.
func (e *Engine) Scan(ctx context.Context, prefix, after string, revision uint64,
	fn func(key string, version uint64, load func() (value.Value, error)) (bool, error),
) error {
	e.mu.RLock()
	defer e.mu.RUnlock()
	if e.db == nil {
		return badger.ErrDBClosed
	}
	return scan(ctx, e.db, prefix, after, revision,
		func(key string, version uint64, load func() (value.Value, error)) (bool, error) {
			return fn(key, version, func() (value.Value, error) {
				v, err := load()
				if err != nil {
					return nil, err
				}
				if v, err = e.Open(key, version, v); err != nil {
					return nil, fmt.Errorf("reading %s: %w", key, err)
				}
				return v, nil
			})
		})
}

func scan(ctx context.Context, db *badger.DB, prefix, after string, revision uint64,
	fn func(key string, version uint64, load func() (value.Value, error)) (bool, error),
) error {
	txn := db.NewTransactionAt(revision, false)
	defer txn.Discard()
	it := txn.NewIterator(badger.IteratorOptions{Prefix: objectKey(prefix)})
	defer it.Close()
	seek := objectKey(prefix)
	if after != "" {
		seek = append(objectKey(after), 0)
	}
	if after < prefix {
		seek = objectKey(prefix)
	}
	for it.Seek(seek); it.Valid(); it.Next() {
		if err := ctx.Err(); err != nil {
			return err
		}
		item := it.Item()
		more, err := fn(string(item.Key()[1:]), item.Version(), func() (value.Value, error) {
			return valueOf(item)
		})
		if err != nil || !more {
			return err
		}
	}
	return nil
}

// Newest is what LoadNewest finds for a key.
type Newest struct {
	Key      string
	Revision uint64
	// Deleted is set where the newest version is a deletion.
	Deleted bool
	// Sealed is set where its bytes are.
	Sealed bool
	Load   func() (value.Value, error)
}

// LoadNewest calls fn with the newest version at or below revision of every key, deleted
// ones among them as long as their history is kept, in key order.
func (e *Engine) LoadNewest(revision uint64, fn func(Newest) error) error {
	_, err := e.LoadCounted(revision, revision, fn)
	return err
}

// LoadCounted is LoadNewest that counts the versions above horizon: every revision has one.
func (e *Engine) LoadCounted(horizon, revision uint64, fn func(Newest) error) (versions uint64, err error) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	if e.db == nil {
		return 0, badger.ErrDBClosed
	}
	txn := e.db.NewTransactionAt(revision, false)
	defer txn.Discard()
	// Values are read while iterating: at a start every byte is needed once.
	it := txn.NewIterator(badger.IteratorOptions{Prefix: []byte{objectPrefix}, AllVersions: true})
	defer it.Close()
	last := ""
	for it.Rewind(); it.Valid(); it.Next() {
		item := it.Item()
		if item.Version() > horizon {
			versions++
		}
		if string(item.Key()[1:]) == last {
			continue
		}
		last = string(item.Key()[1:])
		err := fn(Newest{Key: last, Revision: item.Version(), Deleted: item.IsDeletedOrExpired(),
			Sealed: isSealed(item.UserMeta()),
			Load: func() (value.Value, error) {
				v, err := valueOf(item)
				if err != nil {
					return nil, err
				}
				return e.Open(last, item.Version(), v)
			}})
		if err != nil {
			return versions, err
		}
	}
	return versions, nil
}

// Ref names one version.
type Ref struct {
	Key      string
	Revision uint64
	Deleted  bool
}

// History lists the versions under prefix of the revisions after < r ≤ upTo in the order
// of revisions: all of them, or the oldest limit of them, in which case complete is the
// revision of the last one listed and otherwise upTo.
func (e *Engine) History(ctx context.Context, prefix string, after, upTo uint64, limit int) (refs []Ref, complete uint64, err error) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	if e.db == nil {
		return nil, 0, badger.ErrDBClosed
	}
	txn := e.db.NewTransactionAt(upTo, false)
	defer txn.Discard()
	it := txn.NewIterator(badger.IteratorOptions{Prefix: objectKey(prefix), AllVersions: true, SinceTs: after})
	defer it.Close()
	byRevision := func(a, b Ref) int {
		if a.Revision < b.Revision {
			return -1
		}
		return 1
	}
	complete = upTo
	trim := func() {
		slices.SortFunc(refs, byRevision)
		if len(refs) > limit {
			refs = refs[:limit]
			complete = refs[limit-1].Revision
		}
	}
	for it.Rewind(); it.Valid(); it.Next() {
		item := it.Item()
		if v := item.Version(); v > after && v <= complete {
			refs = append(refs, Ref{Key: string(item.Key()[1:]), Revision: v, Deleted: item.IsDeletedOrExpired()})
		}
		if len(refs) >= 2*limit {
			if err := ctx.Err(); err != nil {
				return nil, 0, err
			}
			trim()
		}
	}
	trim()
	return refs, complete, nil
}
