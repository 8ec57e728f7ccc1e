package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/hashicorp/go-hclog"

	"github.com/pintle-dev/pintle/core/store/internal/durable"
	"github.com/pintle-dev/pintle/core/store/internal/engine"
	"github.com/pintle-dev/pintle/core/store/internal/raftlog"
)

// raftLog is the durable log of one store.
type raftLog struct {
	*raftlog.Log
	// note is told where the log ends when it is closed.
	note func(last uint64)
}

// recentBytes of the newest entries stay in memory where there are other servers, which are
// sent them soon after they were written. Who is further behind reads the disk.
const recentBytes = 4 << 20

// openLog opens the durable Raft log in dir, which is a part of a store's directory.
func openLog(dir string, logger hclog.Logger) (*raftLog, error) {
	if err := raftlog.FinishRefill(dir); err != nil {
		return nil, err
	}
	l, err := raftlog.Open(dir, raftlog.Options{
		SegmentBytes: segmentBytes,
		KeepBytes:    recentBytes,
		Logger:       logger,
		Warn:         func(err error) { logger.Warn("Part of the Raft log was damaged and is made again", "error", err) },
		Format1:      engine.IsFormat1(filepath.Dir(dir)),
	})
	if err != nil {
		return nil, err
	}
	return &raftLog{Log: l}, nil
}

func (l *raftLog) cutBefore(index uint64) error { return l.CutBefore(index) }

// Close notes where the log ends, and closes it.
func (l *raftLog) Close() error {
	if last, err := l.LastIndex(); err == nil && l.note != nil {
		l.note(last)
	}
	return l.Log.Close()
}

// checkLog compares the log with the state: what has been applied, and what was there when the
// store was closed, must not be missing. Then everything is in the newest format.
func (s *Store) checkLog() error {
	x := s.logs.Extent()
	ends, covered := x.Last.Index, s.applied.Load()
	if taken, err := s.snapshots.List(); err != nil {
		return err
	} else if len(taken) > 0 {
		ends, covered = max(ends, taken[0].Index), max(covered, taken[0].Index)
	}
	missing := func(reason string, args ...any) error {
		return &durable.Damage{Path: filepath.Join(s.cfg.Dir, logDir), Offset: -1, Reason: fmt.Sprintf(reason, args...)}
	}
	applied := s.applied.Load()
	// Where the state on disk is not trusted, it tells at least how far the log once came.
	if m, err := s.engine.Meta(); err == nil && m.Applied > ends && s.logs.Floor() == nil {
		return missing("it ends at entry %d, and the state has seen entry %d", ends, m.Applied)
	}
	switch {
	case s.logs.Floor() != nil && ends == 0 && applied == 0:
		// Everything was set aside and comes again from the others.
	case ends < applied:
		return missing("it ends at entry %d, and the state has what entry %d changed", ends, applied)
	case ends < s.engine.LastLog():
		return missing("it ends at entry %d and had entry %d when the store was closed", ends, s.engine.LastLog())
	case x.First > covered+1:
		return missing("it begins at entry %d, and the state ends at entry %d", x.First, covered)
	}
	s.logs.note = s.engine.NoteLog
	if err := s.engine.Migrate(); err != nil {
		return fmt.Errorf("bringing %s to format %d: %w", s.cfg.Dir, engine.Format, err)
	}
	if err := s.logs.Migrated(); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
