package engine

import (
	"cmp"
	"context"
	"slices"

	"github.com/dgraph-io/badger/v4"
)

// ctxEvery is after how many versions a long scan looks whether it is still wanted.
const ctxEvery = 4096

// NewestHistory lists the newest limit versions (0: all) of the revisions after < r ≤ upTo of
// the keys under prefix that are wanted, in the order of revisions. more says that there are
// older ones. It reads keys once and no values, however many there are.
func (e *Engine) NewestHistory(ctx context.Context, prefix string, after, upTo uint64, limit int, wanted func(key string) bool) (refs []Ref, more bool, err error) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	if e.db == nil {
		return nil, false, badger.ErrDBClosed
	}
	txn := e.db.NewTransactionAt(upTo, false)
	defer txn.Discard()
	it := txn.NewIterator(badger.IteratorOptions{Prefix: objectKey(prefix), AllVersions: true, SinceTs: after})
	defer it.Close()
	floor := after // Versions up to here are too old to be listed.
	trim := func() {
		slices.SortFunc(refs, func(a, b Ref) int { return cmp.Compare(a.Revision, b.Revision) })
		if over := len(refs) - limit; limit > 0 && over > 0 {
			more, floor = true, refs[over-1].Revision
			refs = slices.Delete(refs, 0, over)
		}
	}
	n := 0
	for it.Rewind(); it.Valid(); it.Next() {
		if n++; n%ctxEvery == 0 {
			if err := ctx.Err(); err != nil {
				return nil, false, err
			}
		}
		item := it.Item()
		v := item.Version()
		if v <= after || v > upTo {
			continue
		}
		key := string(item.Key()[1:])
		if !wanted(key) {
			continue
		}
		if v <= floor {
			more = true
			continue
		}
		refs = append(refs, Ref{Key: key, Revision: v, Deleted: item.IsDeletedOrExpired()})
		if limit > 0 && len(refs) >= 2*limit {
			trim()
		}
	}
	trim()
	return refs, more, nil
}
