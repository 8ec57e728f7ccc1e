package raftlog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"sync/atomic"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	wal "github.com/hashicorp/raft-wal"
	"github.com/hashicorp/raft-wal/metadb"
	"github.com/hashicorp/raft-wal/segment"

	"github.com/pintle-dev/pintle/core/store/internal/durable"
)

// Log is the durable log with Raft's variables.
type Log struct {
	*wal.WAL
	dir    string
	meta   *meta
	files  *files
	extent Extent
	recent recent
	keep   int
	// bytes and entries that were appended since the log was opened.
	bytes, entries atomic.Uint64
}

var (
	_ raft.LogStore          = (*Log)(nil)
	_ raft.StableStore       = (*Log)(nil)
	_ raft.MonotonicLogStore = (*Log)(nil)
)

// Options of Open.
type Options struct {
	// SegmentBytes are allocated at a time.
	SegmentBytes int
	Logger       hclog.Logger
	// Warn is told of damage that was repaired.
	Warn func(error)
	// KeepBytes bounds the newest entries that are kept in memory too, while there are other
	// servers.
	KeepBytes int
	// Format1 says that the directory has the metadata of the first format, or none.
	Format1 bool
}

// Error is a log that can't be used, with what is still known of it.
type Error struct {
	Extent Extent
	// Term is Raft's current one and Stable says that it and the vote in it are known.
	Term   uint64
	Stable bool
	Err    error
}

// Error implements error.
func (e *Error) Error() string { return e.Err.Error() }

// Unwrap returns what is beneath.
func (e *Error) Unwrap() error { return e.Err }

// Open checks the log in dir and opens it, making an empty one where there is none. An error
// about a damaged log is an *Error.
func Open(dir string, o Options) (*Log, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("directory of the Raft log: %w", err)
	}
	initial, err := initialContent(dir, o.Format1)
	if err != nil {
		return nil, &Error{Err: fmt.Errorf("the Raft log in %s: %w", dir, err)}
	}
	m, err := openMeta(dir, initial, o.Warn)
	if err != nil {
		return nil, &Error{Err: fmt.Errorf("the Raft log in %s: %w", dir, err)}
	}
	l := &Log{dir: dir, meta: m, keep: o.KeepBytes, files: newFiles(dir)}
	if l.extent, err = checkSegments(dir, m.Log); err == nil {
		l.WAL, err = wal.Open(dir, wal.WithLogger(o.Logger.Named("wal")), wal.WithSegmentSize(o.SegmentBytes), wal.WithMetaStore(m),
			wal.WithSegmentFiler(segment.NewFiler(dir, l.files)))
	}
	if err != nil {
		err = errors.Join(fmt.Errorf("opening the Raft log in %s: %w", dir, err), m.Close())
		return nil, &Error{Extent: l.extent, Term: m.term(), Stable: true, Err: err}
	}
	if err := l.agree(); err != nil {
		return nil, &Error{Extent: l.extent, Term: m.term(), Stable: true, Err: errors.Join(err, l.Close())}
	}
	return l, nil
}

// agree makes sure that raft-wal has found what was found here.
func (l *Log) agree() error {
	first, err := l.FirstIndex()
	if err != nil {
		return err
	}
	last, err := l.LastIndex()
	if err != nil {
		return err
	}
	if last != l.extent.Last.Index || (last > 0 && first != l.extent.First) {
		return &durable.Damage{Path: l.dir, Offset: -1, Reason: fmt.Sprintf(
			"it opens with the entries %d to %d and has %d to %d", first, last, l.extent.First, l.extent.Last.Index)}
	}
	if last > 0 {
		var e raft.Log
		if err := l.GetLog(last, &e); err != nil {
			return err
		}
		l.extent.Last.Term = e.Term
	}
	return nil
}

// initialContent is what the metadata begins with: that of the first format, which was a bolt
// database of raft-wal's own, where there is one.
func initialContent(dir string, format1 bool) (content, error) {
	c := content{SumsFrom: 1}
	path := filepath.Join(dir, metadb.FileName)
	if _, err := os.Stat(path); err != nil || hasMeta(dir) {
		if !hasMeta(dir) && !format1 {
			segments, _ := filepath.Glob(filepath.Join(dir, "*.wal"))
			if len(segments) > 0 {
				return c, &durable.Damage{Path: dir, Offset: -1, Reason: "Raft's variables (meta-0 and meta-1) are missing"}
			}
		}
		return c, nil
	}
	if !format1 {
		return c, &durable.Damage{Path: dir, Offset: -1, Reason: "Raft's variables (meta-0 and meta-1) are missing"}
	}
	old := &metadb.BoltMetaDB{}
	state, err := loadOld(old, dir)
	if err != nil {
		return c, &durable.Damage{Path: path, Offset: -1, Reason: "it can't be read", Err: err}
	}
	defer old.Close()
	c.Log, c.Stable = state, map[string][]byte{}
	for _, key := range []string{keyTerm, keyVoteTerm, keyVoteCand} {
		v, err := old.GetStable([]byte(key))
		if err != nil {
			return c, &durable.Damage{Path: path, Offset: -1, Reason: "it has no " + key, Err: err}
		}
		if v != nil {
			c.Stable[key] = v
		}
	}
	x, err := checkSegments(dir, state)
	c.SumsFrom = max(x.Last.Index, x.First) + 1
	return c, err
}

// loadOld reads the first format's database, which reports some damage by panicking.
func loadOld(old *metadb.BoltMetaDB, dir string) (state walState, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%v", p)
		}
	}()
	return old.Load(dir)
}

// Migrated removes what the first format had. It is called once nothing can go back to it.
func (l *Log) Migrated() error {
	err := os.Remove(filepath.Join(l.dir, metadb.FileName))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// Extent is what the log had when it was opened.
func (l *Log) Extent() Extent { return l.extent }

// Appended is how much was appended since the log was opened.
func (l *Log) Appended() (bytes, entries uint64) { return l.bytes.Load(), l.entries.Load() }

// sumBytes is the length of an entry's checksum, which is kept behind its extensions.
const sumBytes = 4

func sum(e *raft.Log, extensions []byte) uint32 {
	var head [17]byte
	binary.BigEndian.PutUint64(head[:], e.Index)
	binary.BigEndian.PutUint64(head[8:], e.Term)
	head[16] = byte(e.Type)
	s := crc32.Checksum(head[:], durable.Castagnoli)
	s = crc32.Update(s, durable.Castagnoli, e.Data)
	return crc32.Update(s, durable.Castagnoli, extensions)
}

// GetLog implements raft.LogStore. Entries that were cut off stay readable in the log as
// long as their segment's file has others; here they are gone at once, as Raft expects.
func (l *Log) GetLog(index uint64, e *raft.Log) error {
	if l.recent.get(index, e) {
		return nil
	}
	first, err := l.FirstIndex()
	if err != nil {
		return err
	}
	if index < first {
		return raft.ErrLogNotFound
	}
	if err := l.WAL.GetLog(index, e); err != nil {
		return err
	}
	if index < l.meta.sumsFrom() {
		return nil
	}
	n := len(e.Extensions) - sumBytes
	if n < 0 || e.Index != index || binary.BigEndian.Uint32(e.Extensions[n:]) != sum(e, e.Extensions[:n]) {
		return &durable.Damage{Path: l.dir, Offset: -1, Reason: fmt.Sprintf("entry %d does not match its checksum", index)}
	}
	if e.Extensions = e.Extensions[:n]; n == 0 {
		e.Extensions = nil
	}
	return nil
}

// StoreLog implements raft.LogStore.
func (l *Log) StoreLog(e *raft.Log) error { return l.StoreLogs([]*raft.Log{e}) }

// StoreLogs implements raft.LogStore.
func (l *Log) StoreLogs(entries []*raft.Log) error {
	summed := make([]raft.Log, len(entries))
	out := make([]*raft.Log, len(entries))
	for i, e := range entries {
		summed[i] = *e
		n := len(e.Extensions)
		summed[i].Extensions = binary.BigEndian.AppendUint32(e.Extensions[:n:n], sum(e, e.Extensions))
		out[i] = &summed[i]
	}
	if err := l.WAL.StoreLogs(out); err != nil {
		return err
	}
	for _, e := range entries {
		if e.Type == raft.LogConfiguration {
			if err := l.NoteServers(raft.DecodeConfiguration(e.Data)); err != nil {
				return err
			}
		}
	}
	for _, e := range entries {
		l.bytes.Add(uint64(len(e.Data)))
	}
	l.entries.Add(uint64(len(entries)))
	l.recent.add(entries)
	return nil
}

// DeleteRange implements raft.LogStore.
func (l *Log) DeleteRange(minIndex, maxIndex uint64) error {
	l.recent.remove(minIndex, maxIndex)
	return l.WAL.DeleteRange(minIndex, maxIndex)
}

// CutBefore removes a log that ends before index, the newest snapshot's: a crash between
// receiving that snapshot and cutting the log leaves one behind, and the next entry would
// not follow on its last.
func (l *Log) CutBefore(index uint64) error {
	first, err := l.FirstIndex()
	if err != nil {
		return err
	}
	last, err := l.LastIndex()
	if err != nil {
		return err
	}
	if last == 0 || last >= index {
		return nil
	}
	if err := l.DeleteRange(first, last); err != nil {
		return fmt.Errorf("cutting the Raft log (entries %d to %d) behind the snapshot at %d: %w", first, last, index, err)
	}
	return nil
}

// Close closes log and metadata.
func (l *Log) Close() error {
	if l.WAL == nil {
		return l.meta.Close()
	}
	err := l.WAL.Close()
	l.files.close()
	return errors.Join(err, l.meta.Close())
}
