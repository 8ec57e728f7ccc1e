package raftlog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/hashicorp/raft"
)

const (
	logPrefix    = 'l'
	stablePrefix = 's'
	headerBytes  = 1 + 8 + 8 + 4
)

// badgerLog keeps entries under their indexes in Badger, in a directory of its own.
type badgerLog struct {
	db *badger.DB
	// values says that entries live in the value log, which somebody has to clean.
	values  bool
	cleaner sync.WaitGroup
	busy    chan struct{}

	mu          sync.RWMutex
	first, last uint64
}

func newBadgerLog(db *badger.DB, values bool) (*badgerLog, error) {
	l := &badgerLog{db: db, values: values, busy: make(chan struct{}, 1)}
	err := db.View(func(tx *badger.Txn) error {
		l.first = end(tx, false)
		l.last = end(tx, true)
		return nil
	})
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return l, nil
}

// end finds the first or the last index.
func end(tx *badger.Txn, reverse bool) uint64 {
	it := tx.NewIterator(badger.IteratorOptions{Reverse: reverse})
	defer it.Close()
	from := []byte{logPrefix}
	if reverse {
		from[0]++
	}
	it.Seek(from)
	if !it.ValidForPrefix([]byte{logPrefix}) {
		return 0
	}
	return binary.BigEndian.Uint64(it.Item().Key()[1:])
}

func logKey(index uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{logPrefix}, index)
}

// FirstIndex implements raft.LogStore.
func (l *badgerLog) FirstIndex() (uint64, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.first, nil
}

// LastIndex implements raft.LogStore.
func (l *badgerLog) LastIndex() (uint64, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.last, nil
}

// GetLog implements raft.LogStore.
func (l *badgerLog) GetLog(index uint64, entry *raft.Log) error {
	err := l.db.View(func(tx *badger.Txn) error {
		it, err := tx.Get(logKey(index))
		if err != nil {
			return err
		}
		return it.Value(func(v []byte) error { return decode(v, index, entry) })
	})
	if errors.Is(err, badger.ErrKeyNotFound) {
		return raft.ErrLogNotFound
	}
	return err
}

func encode(entry *raft.Log) []byte {
	b := make([]byte, 0, headerBytes+len(entry.Extensions)+len(entry.Data))
	b = append(b, byte(entry.Type))
	b = binary.LittleEndian.AppendUint64(b, entry.Term)
	b = binary.LittleEndian.AppendUint64(b, uint64(entry.AppendedAt.UnixNano()))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(entry.Extensions)))
	b = append(b, entry.Extensions...)
	return append(b, entry.Data...)
}

func decode(b []byte, index uint64, entry *raft.Log) error {
	if len(b) < headerBytes || len(b)-headerBytes < int(binary.LittleEndian.Uint32(b[17:])) {
		return fmt.Errorf("entry %d is cut off at %d bytes", index, len(b))
	}
	data := headerBytes + int(binary.LittleEndian.Uint32(b[17:]))
	*entry = raft.Log{
		Index: index, Type: raft.LogType(b[0]), Term: binary.LittleEndian.Uint64(b[1:]),
		AppendedAt: time.Unix(0, int64(binary.LittleEndian.Uint64(b[9:]))),
		Extensions: append([]byte(nil), b[headerBytes:data]...),
		Data:       append([]byte(nil), b[data:]...),
	}
	return nil
}

// StoreLog implements raft.LogStore.
func (l *badgerLog) StoreLog(entry *raft.Log) error { return l.StoreLogs([]*raft.Log{entry}) }

// StoreLogs implements raft.LogStore. It returns when the entries are durable.
func (l *badgerLog) StoreLogs(entries []*raft.Log) error {
	b := l.db.NewWriteBatch()
	defer b.Cancel()
	for _, e := range entries {
		if err := b.Set(logKey(e.Index), encode(e)); err != nil {
			return fmt.Errorf("entry %d: %w", e.Index, err)
		}
	}
	if err := b.Flush(); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.first == 0 {
		l.first = entries[0].Index
	}
	l.last = entries[len(entries)-1].Index
	return nil
}

// DeleteRange implements raft.LogStore.
func (l *badgerLog) DeleteRange(low, high uint64) error {
	b := l.db.NewWriteBatch()
	defer b.Cancel()
	for i := low; i <= high; i++ {
		if err := b.Delete(logKey(i)); err != nil {
			return err
		}
	}
	if err := b.Flush(); err != nil {
		return err
	}
	l.mu.Lock()
	switch {
	case low <= l.first && high >= l.last:
		l.first, l.last = 0, 0
	case low <= l.first:
		l.first = high + 1
	default:
		l.last = low - 1
	}
	l.mu.Unlock()
	l.clean()
	return nil
}

// clean gives back the value log's room in the background, as much as there is.
func (l *badgerLog) clean() {
	if !l.values {
		return
	}
	select {
	case l.busy <- struct{}{}:
		l.cleaner.Go(func() {
			defer func() { <-l.busy }()
			for l.db.RunValueLogGC(0.5) == nil {
			}
		})
	default:
	}
}

// Close implements io.Closer.
func (l *badgerLog) Close() error {
	l.cleaner.Wait()
	return l.db.Close()
}

// errNoValue is what Raft expects for a variable that was never set.
var errNoValue = errors.New("not found")

// Set implements raft.StableStore.
func (l *badgerLog) Set(key, value []byte) error {
	return l.db.Update(func(tx *badger.Txn) error {
		return tx.Set(append([]byte{stablePrefix}, key...), append([]byte(nil), value...))
	})
}

// Get implements raft.StableStore.
func (l *badgerLog) Get(key []byte) (value []byte, err error) {
	err = l.db.View(func(tx *badger.Txn) error {
		it, err := tx.Get(append([]byte{stablePrefix}, key...))
		if err != nil {
			return err
		}
		value, err = it.ValueCopy(nil)
		return err
	})
	if errors.Is(err, badger.ErrKeyNotFound) {
		return nil, errNoValue
	}
	return value, err
}

// SetUint64 implements raft.StableStore.
func (l *badgerLog) SetUint64(key []byte, value uint64) error {
	return l.Set(key, binary.LittleEndian.AppendUint64(nil, value))
}

// GetUint64 implements raft.StableStore.
func (l *badgerLog) GetUint64(key []byte) (uint64, error) {
	b, err := l.Get(key)
	if err != nil {
		return 0, err
	}
	if len(b) != 8 {
		return 0, fmt.Errorf("variable %q has %d bytes", key, len(b))
	}
	return binary.LittleEndian.Uint64(b), nil
}
