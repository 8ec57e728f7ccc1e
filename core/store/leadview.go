package store

import (
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// lead is who leads, as far as this server knows.
type lead struct {
	// id and address are empty where nobody is known to lead.
	id, address string
	self        bool
	// since is when this became known.
	since time.Time
	// changed is closed when it is no longer so.
	changed chan struct{}
}

// leadView follows who leads.
type leadView struct {
	mu  sync.Mutex
	now lead
}

func (v *leadView) get() lead {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.now
}

func (v *leadView) set(id, address string, self bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.now.changed != nil && v.now.id == id && v.now.address == address && v.now.self == self {
		return
	}
	if v.now.changed != nil {
		close(v.now.changed)
	}
	v.now = lead{id: id, address: address, self: self, since: time.Now(), changed: make(chan struct{})}
}

// followLead keeps the view in step with Raft. Observations may be dropped where many come
// at once; those that come later are enough, because each is only a reason to look.
func (s *Store) followLead() {
	defer s.background.Done()
	seen := make(chan raft.Observation, 64)
	observer := raft.NewObserver(seen, false, func(o *raft.Observation) bool {
		switch o.Data.(type) {
		case raft.LeaderObservation, raft.RaftState:
			return true
		}
		return false
	})
	s.raft.RegisterObserver(observer)
	defer s.raft.DeregisterObserver(observer)
	for {
		s.lookWhoLeads()
		select {
		case <-seen:
		case <-s.closing:
			return
		}
	}
}

func (s *Store) lookWhoLeads() {
	if s.raft.State() == raft.Leader {
		s.lead.set(s.cfg.NodeID, string(s.transport.LocalAddr()), true)
		return
	}
	address, id := s.raft.LeaderWithID()
	if id == raft.ServerID(s.cfg.NodeID) {
		address, id = "", "" // it was this server, until now
	}
	s.lead.set(string(id), string(address), false)
}
