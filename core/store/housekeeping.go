package store

import (
	"errors"
	"time"

	"github.com/hashicorp/raft"
)

const (
	// garbageInterval is between looks for dead values in the value log, scrubInterval between
	// checks of all tables.
	garbageInterval = 5 * time.Minute
	scrubInterval   = 24 * time.Hour
	// minTrailing entries stay behind a snapshot however large they are.
	minTrailing = 16
	// mergeBytes must have been written before tables are merged, and fewer than busyBytes in the
	// last second: while much is written Badger merges by itself.
	mergeBytes = 64 << 20
	busyBytes  = 256 << 10
)

// housekeep looks after what takes time to build up.
func (s *Store) housekeep() {
	defer s.background.Done()
	second := time.NewTicker(time.Second)
	defer second.Stop()
	garbage := time.NewTicker(garbageInterval)
	defer garbage.Stop()
	scrub := time.NewTicker(scrubInterval)
	defer scrub.Stop()
	full := false
	old := leftovers{mark: s.index.Revision(), settled: -s.engine.TableBytes()}
	for {
		select {
		case <-second.C:
			if err := s.room.refresh(); err != nil {
				s.log.Warn("Looking for room on the disk", "error", err)
			}
			full = s.tellRoom(full)
			s.trimLog()
			if old.ripe(int64(s.engine.Written()), s.index.Revision(), s.horizon.Load()) {
				s.merge()
			}
		case <-garbage.C:
			if err := s.engine.CollectGarbage(); err != nil {
				s.log.Warn("Collecting old versions of large objects", "error", err)
			}
		case <-scrub.C:
			if err := s.engine.Scrub(); err != nil {
				s.noteDamage(err)
			}
		case <-s.closing:
			return
		}
	}
}

// leftovers says when versions that nobody needs any more may fill the tables: much was written,
// all of that is behind the horizon, and now little is.
type leftovers struct {
	// settled is how much had been written when tables were last merged, seen when last looked.
	settled, seen int64
	// mark is the newest revision of when much was written.
	mark uint64
}

// ripe is asked once a second.
func (l *leftovers) ripe(written int64, revision, horizon uint64) bool {
	busy := written-l.seen >= busyBytes
	l.seen = written
	if busy {
		l.mark = revision
	}
	if busy || written-l.settled < mergeBytes || horizon < l.mark {
		return false
	}
	l.settled = written
	return true
}

// merge drops what is left over, beside everything else.
func (s *Store) merge() {
	if !s.merging.CompareAndSwap(false, true) {
		return
	}
	s.background.Add(1)
	go func() {
		defer s.background.Done()
		defer s.merging.Store(false)
		// The newest snapshot needs the versions of its time.
		if err := s.TakeSnapshot(); err != nil {
			s.log.Debug("No snapshot before merging", "error", err)
		}
		before := s.engine.TableBytes()
		if err := s.engine.Merge(); err != nil {
			s.log.Warn("Merging tables", "error", err)
			return
		}
		s.log.Debug("Merged tables", "before", before, "after", s.engine.TableBytes())
	}()
}

// tellRoom logs when the disk becomes too full for writes, and when it is not any more.
func (s *Store) tellRoom(before bool) (full bool) {
	err := s.room.check(false)
	switch {
	case err != nil && !before:
		s.log.Error("Writes are refused", "error", err)
	case err == nil && before:
		s.log.Info("There is room on the disk again; writes go on")
	}
	return err != nil
}

// trimLog takes a snapshot, behind which the log is cut, when the log has grown by its share of
// LogBytes: Raft itself counts entries, which may be small or large.
func (s *Store) trimLog() {
	bytes, entries := s.logs.Appended()
	grown, n := bytes-s.trimmed.bytes, entries-s.trimmed.entries
	if grown < uint64(s.cfg.LogBytes)/2 || n == 0 {
		return
	}
	s.trimmed.bytes, s.trimmed.entries = bytes, entries
	conf := s.raft.ReloadableConfig()
	conf.TrailingLogs = max(minTrailing, min(s.cfg.TrailingEntries, uint64(s.cfg.LogBytes)/4/max(grown/n, 1)))
	if err := s.raft.ReloadConfig(conf); err != nil {
		s.log.Warn("Bounding the Raft log", "error", err)
	}
	if err := s.TakeSnapshot(); err != nil && !errors.Is(err, raft.ErrRaftShutdown) {
		s.log.Warn("Cutting the Raft log", "error", err)
	}
}
