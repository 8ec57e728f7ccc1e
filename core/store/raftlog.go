package store

import (
	"errors"
	"fmt"
	"os"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	wal "github.com/hashicorp/raft-wal"
	"github.com/hashicorp/raft-wal/metadb"
)

// raftLog is the durable log with its metadata file, which the log itself leaves open.
type raftLog struct {
	*wal.WAL
	meta *metadb.BoltMetaDB
}

// GetLog implements raft.LogStore. Entries that were cut off stay readable in the log as
// long as their segment's file has others; here they are gone at once, as Raft expects.
func (l *raftLog) GetLog(index uint64, entry *raft.Log) error {
	first, err := l.FirstIndex()
	if err != nil {
		return err
	}
	if index < first {
		return raft.ErrLogNotFound
	}
	return l.WAL.GetLog(index, entry)
}

// Close closes both.
func (l *raftLog) Close() error { return errors.Join(l.WAL.Close(), l.meta.Close()) }

// openLog opens the durable Raft log in dir.
func openLog(dir string, logger hclog.Logger) (*raftLog, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("directory of the Raft log: %w", err)
	}
	meta := &metadb.BoltMetaDB{}
	w, err := wal.Open(dir, wal.WithLogger(logger.Named("wal")), wal.WithSegmentSize(segmentBytes), wal.WithMetaStore(meta))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("opening the Raft log in %s: %w", dir, err), meta.Close())
	}
	return &raftLog{WAL: w, meta: meta}, nil
}

// cutBefore removes a log that ends before index, the newest snapshot's: a crash between
// receiving that snapshot and cutting the log leaves one behind, and the next entry would
// not follow on its last.
func (l *raftLog) cutBefore(index uint64) error {
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
