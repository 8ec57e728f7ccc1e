package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"os"
	"path/filepath"

	"github.com/hashicorp/raft"

	"github.com/pintle-dev/pintle/core/store/internal/engine"
	"github.com/pintle-dev/pintle/core/store/internal/snapshot"
)

// A restored store begins with a snapshot at this position of the log, where a new cluster has
// its first entry.
const (
	restoredIndex = 1
	restoredTerm  = 1
)

// keyTerm is where Raft keeps its current term.
var keyTerm = []byte("CurrentTerm")

// Restored says what Restore has made.
type Restored struct {
	// Revision at which the backup was taken.
	Revision uint64
	// Begins is the revision of the new store: Revision and what it was raised by. Its history
	// begins there, so that whoever knows a revision of before is told that it is compacted.
	Begins uint64
}

// Restore makes a store in dir, which must be empty or missing, of what Backup.Stream wrote.
// Objects keep their revisions; the store's own is raised by raise, which must be more than the
// old cluster can have written after the backup. The store waits for [Open] with Bootstrap,
// whose server becomes the only voter of a new cluster. After an error, what is in dir is of no
// use.
func Restore(ctx context.Context, dir string, r io.Reader, raise uint64, log *slog.Logger) (_ Restored, err error) {
	if entries, err := os.ReadDir(dir); err != nil && !errors.Is(err, os.ErrNotExist) {
		return Restored{}, fmt.Errorf("restore: %w", err)
	} else if len(entries) > 0 {
		return Restored{}, fmt.Errorf("restore: %s is not empty: it has %s", dir, entries[0].Name())
	}
	e, err := engine.Open(dir, log)
	if err != nil {
		return Restored{}, fmt.Errorf("restore: %w", err)
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	meta, err := e.Replace(whileContext{ctx, r})
	if err != nil {
		return Restored{}, fmt.Errorf("restore: %w", err)
	}
	out := Restored{Revision: meta.Revision}
	// Expectations are signed.
	if meta.Revision > math.MaxInt64/2 || raise > math.MaxInt64/2 {
		return Restored{}, fmt.Errorf("restore: revision %d can't be raised by %d", meta.Revision, raise)
	}
	meta.Applied, meta.Revision = restoredIndex, meta.Revision+raise
	meta.Horizon, out.Begins = meta.Revision, meta.Revision
	if err := e.SaveMeta(meta); err != nil {
		return Restored{}, fmt.Errorf("restore: %w", err)
	}
	if err := e.Sync(); err != nil {
		return Restored{}, fmt.Errorf("restore: %w", err)
	}
	if err := beginLog(dir, e, meta, log); err != nil {
		return Restored{}, fmt.Errorf("restore: %w", err)
	}
	return out, nil
}

// beginLog makes what Raft goes on from: a snapshot of no cluster yet, and a term.
func beginLog(dir string, e *engine.Engine, meta engine.Meta, log *slog.Logger) error {
	logs, err := openLog(filepath.Join(dir, logDir), raftLogger(log))
	if err != nil {
		return err
	}
	if err := errors.Join(logs.SetUint64(keyTerm, restoredTerm), logs.Close()); err != nil {
		return fmt.Errorf("beginning the Raft log: %w", err)
	}
	snapshots, err := snapshot.Open(filepath.Join(dir, snapshotDir), states{e}, engine.WriteFile)
	if err != nil {
		return err
	}
	defer snapshots.Close()
	sink, err := snapshots.Create(1, restoredIndex, restoredTerm, raft.Configuration{}, restoredIndex, nil)
	if err != nil {
		return err
	}
	own, ok := sink.(*snapshot.Sink)
	if !ok {
		return fmt.Errorf("snapshot sink is a %T", sink)
	}
	own.SetState(snapshot.State(meta))
	return own.Close()
}

// adoptRestored makes this server the only voter of a store that Restore has made and that has
// no cluster yet.
func (s *Store) adoptRestored() error {
	taken, err := s.snapshots.List()
	if err != nil || len(taken) == 0 || len(taken[0].Configuration.Servers) > 0 {
		return err
	}
	if !s.cfg.Bootstrap {
		return fmt.Errorf("%s holds a restored backup whose cluster has not begun: start it as the first server, not as one that joins others", s.cfg.Dir)
	}
	s.log.Info("Beginning a new cluster with what was restored", "revision", s.index.Revision())
	self := raft.Server{ID: raft.ServerID(s.cfg.NodeID), Address: s.transport.LocalAddr()}
	if err := s.snapshots.Adopt(raft.Configuration{Servers: []raft.Server{self}}); err != nil {
		return fmt.Errorf("beginning a new cluster: %w", err)
	}
	return nil
}

// whileContext is a reader that ends with a context.
type whileContext struct {
	ctx context.Context
	r   io.Reader
}

func (w whileContext) Read(p []byte) (int, error) {
	if err := w.ctx.Err(); err != nil {
		return 0, err
	}
	return w.r.Read(p)
}
