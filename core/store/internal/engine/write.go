package engine

import (
	"fmt"

	"github.com/dgraph-io/badger/v4"

	"github.com/pintle-dev/pintle/core/store/internal/value"
)

// Record is one version to keep. Value is nil for a deletion.
type Record struct {
	Key      string
	Revision uint64
	Value    value.Value
	// First is set in the last record of a transaction of several: the revision of its
	// first one.
	First uint64
	// Note is kept beside a deletion.
	Note []byte
}

// Commit writes records. meta describes a state that was complete before this call: the
// records of one call may land in parts if the process dies in it, so only the next call
// may vouch for them (or SaveMeta).
func (e *Engine) Commit(records []Record, meta Meta) error {
	e.mu.RLock()
	defer e.mu.RUnlock()
	if e.db == nil {
		return badger.ErrDBClosed
	}
	for i := range records {
		if records[i].First != 0 {
			e.spans.Store(true)
		}
		if records[i].Note != nil {
			e.notes.Store(true)
		}
	}
	n, err := write(e.db, records, meta)
	e.written.Add(n)
	return err
}

// SaveMeta vouches for everything committed so far.
func (e *Engine) SaveMeta(meta Meta) error { return e.Commit(nil, meta) }

// Written is how many bytes of objects have been written since the state was opened.
func (e *Engine) Written() uint64 { return e.written.Load() }

// write returns how many bytes of objects it has written.
func write(db *badger.DB, records []Record, meta Meta) (written uint64, err error) {
	size := 0
	for i := range records {
		size += 1 + len(records[i].Key)
	}
	keys := make([]byte, 0, size)
	entries := make([]badger.Entry, len(records))
	p, _ := packers.Get().(*packer)
	wb := db.NewManagedWriteBatch()
	defer wb.Cancel()
	if err := wb.SetEntryAt(badger.NewEntry(metaKey, meta.encode()), max(meta.Revision, 1)); err != nil {
		return 0, fmt.Errorf("writing the state's metadata: %w", err)
	}
	for i := range records {
		r := &records[i]
		begin := len(keys)
		keys = append(append(keys, objectPrefix), r.Key...)
		key := keys[begin:len(keys):len(keys)]
		var err error
		if r.Value == nil {
			err = wb.DeleteAt(key, r.Revision)
		} else {
			entries[i].Key = key
			entries[i].Value, entries[i].UserMeta = p.pack(r)
			written += uint64(len(key) + len(entries[i].Value))
			err = wb.SetEntryAt(&entries[i], r.Revision)
		}
		if err == nil {
			err = writeMarks(wb, r)
		}
		if err != nil {
			return 0, fmt.Errorf("writing %s at revision %d: %w", r.Key, r.Revision, err)
		}
	}
	if err := wb.Flush(); err != nil {
		return 0, fmt.Errorf("writing the state: %w", err)
	}
	p.release() // After an error something may still read what it holds.
	return written, nil
}
