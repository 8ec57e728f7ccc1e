package store

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/pintle-dev/pintle/core/store/internal/command"
)

// leadership is what this server knows of who leads.
type leadership struct {
	notify <-chan bool

	mu sync.Mutex
	// ready: this server leads and has applied everything that earlier leaders committed.
	ready   bool
	changed chan struct{}
	// readyIn is the term in which it does, 0 where it does not.
	readyIn atomic.Uint64
}

func (l *leadership) set(ready bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ready = ready
	close(l.changed)
	l.changed = make(chan struct{})
}

func (l *leadership) get() (ready bool, changed <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ready, l.changed
}

// Leadership says whether this server leads, with everything committed before applied,
// and at which address the leader is ("" where it is not known).
func (s *Store) Leadership() (leader bool, address string) {
	ready, _ := s.leading.get()
	addr, _ := s.raft.LeaderWithID()
	return ready, string(addr)
}

// LeadershipChanged is closed at the next change of whether this server leads.
func (s *Store) LeadershipChanged() <-chan struct{} {
	_, changed := s.leading.get()
	return changed
}

func (s *Store) notLeader() error {
	if s.removed.Load() {
		return fmt.Errorf("%w, and this server is told of no leader: %w", ErrNotLeader, ErrRemoved)
	}
	addr, id := s.raft.LeaderWithID()
	if addr == "" || id == raft.ServerID(s.cfg.NodeID) {
		return fmt.Errorf("%w, and the leader is not known", ErrNotLeader)
	}
	return fmt.Errorf("%w: that is %s at %s", ErrNotLeader, id, addr)
}

// waitReady waits until this server leads and has caught up.
func (s *Store) waitReady(ctx context.Context) error {
	for {
		ready, changed := s.leading.get()
		if ready {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("waiting to lead: %w", ctx.Err())
		case <-s.closing:
			return ErrClosed
		}
	}
}

// leadAlone makes the only voter its leader at once: there is nobody whose heartbeat it
// would have to wait for.
func (s *Store) leadAlone(ctx context.Context) error {
	servers := s.raft.GetConfiguration().Configuration().Servers
	if len(servers) != 1 || servers[0].ID != raft.ServerID(s.cfg.NodeID) {
		return nil
	}
	local := s.transport.LocalAddr()
	var resp raft.TimeoutNowResponse
	req := raft.TimeoutNowRequest{RPCHeader: raft.RPCHeader{
		ProtocolVersion: raft.ProtocolVersionMax,
		ID:              []byte(servers[0].ID),
		Addr:            s.transport.EncodePeer(servers[0].ID, local),
	}}
	if err := s.transport.TimeoutNow(servers[0].ID, local, &req, &resp); err != nil {
		s.log.Debug("The only voter waits for its election timeout", "error", err)
	}
	if err := s.waitReady(ctx); err != nil {
		return err
	}
	if servers[0].Address != local {
		// It listens elsewhere than before; voters to come must find it there.
		return s.AddVoter(ctx, s.cfg.NodeID, string(local))
	}
	return nil
}

// watchLeadership follows Raft's changes and does what only the leader does.
func (s *Store) watchLeadership() {
	defer s.background.Done()
	interval := min(max(s.cfg.HistoryWindow/sampleParts, 50*time.Millisecond), time.Second)
	limits := historyLimits{s.cfg.HistoryWindow, s.cfg.HistoryRevisions, uint64(s.cfg.HistoryBytes)}
	tick := time.NewTicker(interval)
	defer tick.Stop()
	var keeper historyKeeper
	for {
		select {
		case leads := <-s.leading.notify:
			keeper = historyKeeper{}
			s.leading.readyIn.Store(0)
			s.leading.set(false)
			if !leads {
				continue
			}
			term := s.raft.CurrentTerm()
			if err := s.raft.Barrier(0).Error(); err != nil {
				if !errors.Is(err, raft.ErrRaftShutdown) {
					s.log.Warn("Lost the lead before catching up", "error", err)
				}
				continue
			}
			s.leading.readyIn.Store(term)
			s.leading.set(true)
		case now := <-tick.C:
			if ready, _ := s.leading.get(); !ready {
				continue
			}
			target := keeper.horizon(sample{now, s.index.Revision(), s.engine.Written()}, limits)
			if target > s.horizon.Load() {
				s.compact(target)
			}
		case <-s.closing:
			return
		}
	}
}

// compact proposes a new horizon.
func (s *Store) compact(revision uint64) {
	f := s.raft.Apply(command.AppendCompact(nil, revision), enqueueTimeout)
	if err := f.Error(); err != nil && !errors.Is(err, raft.ErrRaftShutdown) {
		s.log.Warn("Cutting the history", "revision", revision, "error", err)
	}
}
