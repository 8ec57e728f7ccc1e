package raftlog

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/dgraph-io/badger/v4"
	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	wal "github.com/hashicorp/raft-wal"
	"github.com/hashicorp/raft-wal/metadb"
	"go.etcd.io/bbolt"
)

// Log is a log and Raft's own variables in one directory.
type Log interface {
	raft.LogStore
	raft.StableStore
	io.Closer
}

// Kinds are the names that Open takes.
var Kinds = []string{"raft-wal", "badger-tree", "badger-vlog", "bolt"}

// Open opens or creates the log of a kind in dir.
func Open(kind, dir string) (Log, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	switch kind {
	case "raft-wal":
		return openWAL(dir)
	case "badger-tree":
		// Entries live in the tree: one sync of a memtable's log for each, and
		// they are written again when the memtable is full.
		return openBadger(dir, 1<<20)
	case "badger-vlog":
		// Entries live in the value log and the tree points to them.
		return openBadger(dir, 512)
	case "bolt":
		// The settings with which Consul runs it: the list of free pages is not written
		// with every transaction but found at a start.
		return raftboltdb.New(raftboltdb.Options{
			Path:        filepath.Join(dir, "raft.db"),
			BoltOptions: &bbolt.Options{NoFreelistSync: true, FreelistType: bbolt.FreelistMapType},
		})
	}
	return nil, fmt.Errorf("log %q: want one of %v", kind, Kinds)
}

// walLog is raft-wal as core/store opens it.
type walLog struct {
	*wal.WAL
	meta *metadb.BoltMetaDB
}

func (l *walLog) Close() error { return errors.Join(l.WAL.Close(), l.meta.Close()) }

func openWAL(dir string) (Log, error) {
	meta := &metadb.BoltMetaDB{}
	w, err := wal.Open(dir, wal.WithLogger(hclog.NewNullLogger()), wal.WithSegmentSize(16<<20), wal.WithMetaStore(meta))
	if err != nil {
		return nil, errors.Join(err, meta.Close())
	}
	return &walLog{WAL: w, meta: meta}, nil
}

func openBadger(dir string, valueThreshold int64) (Log, error) {
	db, err := badger.Open(badger.DefaultOptions(dir).
		WithLogger(nil).
		WithSyncWrites(true).
		WithDetectConflicts(false).
		WithMetricsEnabled(false).
		WithNumVersionsToKeep(1).
		// A batch may have 15 % of it, and entries go up to 1.5 MiB.
		WithMemTableSize(32 << 20).
		WithNumMemtables(2).
		WithNumCompactors(2).
		WithNumLevelZeroTables(2).
		WithNumLevelZeroTablesStall(6).
		WithValueThreshold(valueThreshold).
		WithValueLogFileSize(32 << 20).
		WithBlockCacheSize(4 << 20))
	if err != nil {
		return nil, err
	}
	return newBadgerLog(db, valueThreshold < 1<<20)
}
