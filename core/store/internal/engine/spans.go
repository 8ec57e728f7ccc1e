package engine

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/dgraph-io/badger/v4"
)

// A span is the revisions of one transaction, first to last: the state at one of them that is
// not the last would be a part of the transaction. Badger has it under spanPrefix and the last
// revision, with the first as a varint, until the horizon has passed it.

// spanPrefix begins the keys of spans.
const spanPrefix = 't'

// spansAtOnce bounds how many spans one move of the horizon deletes; the next one goes on.
const spansAtOnce = 4096

func spanKey(last uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{spanPrefix}, last)
}

// writeSpan notes the transaction that ends with record r.
func writeSpan(wb *badger.WriteBatch, r *Record) error {
	return wb.SetEntryAt(badger.NewEntry(spanKey(r.Revision), binary.AppendUvarint(nil, r.First)), r.Revision)
}

// SpanEnd returns the last revision of the transaction that revision belongs to, and revision
// itself where it is a write of its own or where the history no longer reaches.
func (e *Engine) SpanEnd(revision uint64) (uint64, error) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	if e.db == nil {
		return 0, badger.ErrDBClosed
	}
	if !e.spans.Load() {
		return revision, nil
	}
	end := revision
	err := eachSpan(e.db, revision, func(first, last uint64) bool {
		if first <= revision {
			end = last
		}
		return false
	})
	return end, err
}

// eachSpan calls fn with the spans that end at or after revision, in order, until it returns
// false.
func eachSpan(db *badger.DB, revision uint64, fn func(first, last uint64) bool) error {
	txn := db.NewTransactionAt(^uint64(0), false)
	defer txn.Discard()
	it := txn.NewIterator(badger.IteratorOptions{Prefix: []byte{spanPrefix}})
	defer it.Close()
	for it.Seek(spanKey(revision)); it.Valid(); it.Next() {
		key := it.Item().Key()
		if len(key) != 1+8 {
			return fmt.Errorf("the key of a transaction has %d bytes", len(key))
		}
		last := binary.BigEndian.Uint64(key[1:])
		var first uint64
		err := it.Item().Value(func(b []byte) error {
			var n int
			if first, n = binary.Uvarint(b); n <= 0 || first > last {
				return errors.New("its bytes are damaged")
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("reading the transaction that ends at revision %d: %w", last, err)
		}
		if !fn(first, last) {
			return nil
		}
	}
	return nil
}

// forgetSpans deletes the spans that end before revision. There are none to look for where
// nobody has made a transaction.
func (e *Engine) forgetSpans(revision uint64) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	if e.db == nil || !e.spans.Load() {
		return
	}
	var old []uint64
	more := false
	err := eachSpan(e.db, 0, func(_, last uint64) bool {
		if last >= revision || len(old) == spansAtOnce {
			more = true
			return false
		}
		old = append(old, last)
		return true
	})
	wb := e.db.NewManagedWriteBatch()
	defer wb.Cancel()
	for _, last := range old {
		err = errors.Join(err, wb.DeleteAt(spanKey(last), revision))
	}
	if err == nil && len(old) > 0 {
		err = wb.Flush()
	}
	if err != nil {
		e.log.Warn("Forgetting the revisions of old transactions", "error", err)
		return
	}
	e.spans.Store(more)
}
