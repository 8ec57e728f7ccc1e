package engine

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/dgraph-io/badger/v4"
)

// A span is the revisions of one transaction, first to last: the state at one of them that is
// not the last would be a part of the transaction. Badger has it under spanPrefix and the last
// revision, with the first as a varint, until the horizon has passed it.

// spanPrefix begins the keys of spans.
const spanPrefix = 't'

// forgottenAtOnce bounds how many keys one move of the horizon deletes; the next one goes on.
const forgottenAtOnce = 4096

func revisionKey(prefix byte, revision uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{prefix}, revision)
}

// writeMarks notes the transaction that ends with record r, and what is to be said of a
// deletion.
func writeMarks(wb *badger.WriteBatch, r *Record) error {
	if r.First != 0 {
		if err := writeSpan(wb, r); err != nil {
			return err
		}
	}
	if len(r.Note) == 0 {
		return nil
	}
	return wb.SetEntryAt(badger.NewEntry(revisionKey(notePrefix, r.Revision), r.Note), r.Revision)
}

// writeSpan notes the transaction that ends with record r.
func writeSpan(wb *badger.WriteBatch, r *Record) error {
	return wb.SetEntryAt(badger.NewEntry(revisionKey(spanPrefix, r.Revision), binary.AppendUvarint(nil, r.First)), r.Revision)
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
	for it.Seek(revisionKey(spanPrefix, revision)); it.Valid(); it.Next() {
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

// A note is what the history says of a deletion, of which nothing else is kept. Badger has it
// under notePrefix and the revision, until the horizon has passed it.
const notePrefix = 'n'

// Note reads what was noted of the deletion at revision, nil where nothing was.
func (e *Engine) Note(revision uint64) ([]byte, error) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	if e.db == nil {
		return nil, badger.ErrDBClosed
	}
	txn := e.db.NewTransactionAt(^uint64(0), false)
	defer txn.Discard()
	it, err := txn.Get(revisionKey(notePrefix, revision))
	if errors.Is(err, badger.ErrKeyNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the note of revision %d: %w", revision, err)
	}
	return it.ValueCopy(nil)
}

// forget deletes spans that end before revision and notes of before it. There are none to look
// for where nobody has written any.
func (e *Engine) forget(revision uint64) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	if e.db == nil {
		return
	}
	for _, x := range [...]struct {
		prefix byte
		some   *atomic.Bool
	}{{spanPrefix, &e.spans}, {notePrefix, &e.notes}} {
		if !x.some.Load() {
			continue
		}
		more, err := forgetBefore(e.db, x.prefix, revision)
		if err != nil {
			e.log.Warn("Forgetting what was noted of old revisions", "error", err)
			continue
		}
		x.some.Store(more)
	}
}

// forgetBefore deletes keys of revisions before revision; more says that others are left.
func forgetBefore(db *badger.DB, prefix byte, revision uint64) (more bool, err error) {
	txn := db.NewTransactionAt(^uint64(0), false)
	defer txn.Discard()
	it := txn.NewIterator(badger.IteratorOptions{Prefix: []byte{prefix}})
	defer it.Close()
	wb := db.NewManagedWriteBatch()
	defer wb.Cancel()
	n := 0
	for it.Rewind(); it.Valid(); it.Next() {
		key := it.Item().KeyCopy(nil)
		if n == forgottenAtOnce || len(key) != 1+8 || binary.BigEndian.Uint64(key[1:]) >= revision {
			more = true
			break
		}
		if err := wb.DeleteAt(key, revision); err != nil {
			return true, err
		}
		n++
	}
	if n == 0 {
		return more, nil
	}
	return more, wb.Flush()
}
