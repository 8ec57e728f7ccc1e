package store

import "github.com/pintle-dev/pintle/core/store/internal/engine"

// Stats is what a status page or a metrics endpoint shows of a store.
type Stats struct {
	// Revision is the newest applied one, Horizon the oldest with complete history.
	Revision, Horizon uint64
	// AppliedIndex and CommitIndex are positions in the Raft log; Term is Raft's.
	AppliedIndex, CommitIndex, Term uint64
	// State is Raft's: Follower, Candidate, Leader or Shutdown.
	State string
	// Keys is the number of live objects, CacheBytes and EventBytes the memory that
	// objects and events use.
	Keys                   int
	CacheBytes, EventBytes int64
	// DiskBytes is what the directory occupies, FreeBytes what the disk has left.
	DiskBytes int64
	FreeBytes uint64
	// Alarms are what an operator must look after.
	Alarms []Alarm
}

// Stats reads the figures. It looks at every file, so it is not for every request.
func (s *Store) Stats() Stats {
	s.events.mu.RLock()
	eventBytes := s.events.bytes
	s.events.mu.RUnlock()
	return Stats{
		Revision:     s.index.Revision(),
		Horizon:      s.horizon.Load(),
		AppliedIndex: s.applied.Load(),
		CommitIndex:  s.raft.CommitIndex(),
		Term:         s.raft.CurrentTerm(),
		State:        s.raft.State().String(),
		Keys:         s.index.Len(),
		CacheBytes:   s.index.CacheBytes(),
		EventBytes:   eventBytes,
		DiskBytes:    engine.DiskBytes(s.cfg.Dir),
		FreeBytes:    s.room.free.Load(),
		Alarms:       s.Alarms(),
	}
}
