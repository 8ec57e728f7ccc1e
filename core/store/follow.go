package store

import (
	"context"
	"errors"
	"slices"
	"syscall"
	"time"

	"github.com/hashicorp/raft"

	"github.com/pintle-dev/pintle/core/store/internal/peer"
)

const (
	// tellInterval is the least time between two positions told to the same follower: under
	// load Raft's own messages carry them.
	tellInterval = 2 * time.Millisecond
	// injectTimeout bounds the time to look for entries that are on their way.
	injectTimeout = 100 * time.Millisecond
	// redial is the pause after a connection that failed.
	redial = 50 * time.Millisecond
	// turn is the time between the candidacies of two followers whose leader has died.
	turn = 150 * time.Millisecond
	// silence is the part of the heartbeat timeout for which a leader that refuses
	// connections must have been silent to count as dead. Heartbeats come at least every fifth.
	silence = 4
)

// Raft tells followers what is committed with the next entry, or some 50 ms later. A write
// through a follower, a consistent read and a watch there would wait for that. So the leader
// tells its position to who follows it as soon as it moves, and a follower hands that to
// Raft as what it is: an AppendEntries without entries, whose previous entry is the committed
// one. Raft checks that the follower has exactly this entry, from this term.

// tell is kindFollow: it tells positions until the connection or the lead ends.
func (p *peers) tell(ctx context.Context, r peer.Request) error {
	s := p.store
	if err := p.member(r); err != nil {
		return err
	}
	if err := s.waitReady(ctx); err != nil {
		return s.notLeader()
	}
	var told position
	pause := time.NewTimer(tellInterval)
	defer pause.Stop()
	for {
		moved := s.reached.wait()
		ready, changed := s.leading.get()
		if !ready {
			return s.notLeader()
		}
		if at := s.position(); at != told && at.commit != 0 {
			if err := r.Notify(at.append(nil)); err != nil {
				return err
			}
			told = at
			pause.Reset(tellInterval)
			select {
			case <-pause.C:
			case <-changed:
			case <-r.Gone:
				return nil
			case <-s.closing:
				return ErrClosed
			}
			continue
		}
		select {
		case <-moved:
		case <-changed:
		case <-r.Gone:
			return nil
		case <-s.closing:
			return ErrClosed
		}
	}
}

// notice takes what a leader tells.
func (p *peers) notice(address string, body []byte) {
	at, err := decodePosition(body)
	if l := p.store.lead.get(); err == nil && !l.self && l.address == address {
		p.hear(l, at)
	}
}

// hear keeps a position of a leader for Raft.
func (p *peers) hear(l lead, at position) {
	if at.commit <= p.store.raft.CommitIndex() {
		return
	}
	p.mu.Lock()
	if h := &p.heard; at.term > h.at.term || at.term == h.at.term && at.commit > h.at.commit {
		h.lead, h.at = l, at
	}
	p.mu.Unlock()
	select {
	case p.news <- struct{}{}:
	default:
	}
}

// learn hands what was heard to Raft.
func (p *peers) learn() {
	s := p.store
	defer s.background.Done()
	for {
		select {
		case <-p.news:
		case <-s.closing:
			return
		}
		p.mu.Lock()
		h := p.heard
		p.mu.Unlock()
		p.commit(h.lead, h.at)
	}
}

// commit waits until the log has the entry, a short time, and has Raft apply it. What does
// not work out comes later with Raft's own messages.
func (p *peers) commit(l lead, at position) {
	r := p.store.raft
	ctx, cancel := context.WithTimeout(context.Background(), injectTimeout)
	defer cancel()
	for wait := 500 * time.Microsecond; r.LastIndex() < at.commit; wait = min(2*wait, 8*time.Millisecond) {
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-p.news:
			t.Stop()
			p.mu.Lock()
			l, at = p.heard.lead, p.heard.at
			p.mu.Unlock()
		case <-ctx.Done():
			t.Stop()
			return
		case <-p.store.closing:
			t.Stop()
			return
		}
	}
	if r.CommitIndex() >= at.commit || r.CurrentTerm() != at.term || r.State() == raft.Leader {
		return
	}
	_, _ = p.inject(ctx, &raft.AppendEntriesRequest{
		RPCHeader: raft.RPCHeader{
			ProtocolVersion: raft.ProtocolVersionMax, ID: []byte(l.id),
			Addr: p.store.transport.EncodePeer(raft.ServerID(l.id), raft.ServerAddress(l.address)),
		},
		Term: at.term, PrevLogEntry: at.commit, PrevLogTerm: at.term, LeaderCommitIndex: at.commit,
	})
}

// follow keeps a connection to who leads, for positions, and to see a leader's process die:
// its machine then refuses connections, which is faster and surer than its silence.
func (p *peers) follow() {
	s := p.store
	defer s.background.Done()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() { <-s.closing; cancel() }()
	connected := "" // the leader, since it leads
	for ctx.Err() == nil {
		l := s.lead.get()
		if l.id == "" || l.self {
			connected = ""
			select {
			case <-l.changed:
			case <-ctx.Done():
			}
			continue
		}
		_, err := p.client.Connect(ctx, l.address)
		switch {
		case err == nil:
			connected = l.id
			_, err = p.client.Call(ctx, l.address, kindFollow, nil)
			var refused *peer.Refusal
			if errors.As(err, &refused) {
				p.removal(refused)
				break
			}
			continue // The connection has ended: look at once what the next one meets.
		case errors.Is(err, syscall.ECONNREFUSED) && connected == l.id:
			if p.succeed(ctx, l) {
				connected = ""
			}
		}
		pause := time.NewTimer(redial)
		select {
		case <-pause.C:
		case <-l.changed:
		case <-ctx.Done():
		}
		pause.Stop()
	}
}

// removal notes that this server is no part of the cluster any more.
func (p *peers) removal(r *peer.Refusal) {
	if r.Code == codeRemoved {
		p.store.SetRemoved()
	}
}

// SetRemoved makes this server know that it is no part of its cluster any more: it refuses
// writes and reads of the newest state from then on.
func (s *Store) SetRemoved() {
	if s.removed.CompareAndSwap(false, true) {
		s.log.Error("This server has been removed from the cluster: it takes no writes and is as old as it was then. " +
			"To bring it back, stop it, remove its data directory and join it again with a new token")
	}
}

// succeed makes this server stand for election in place of a leader whose process is gone,
// the followers one after the other. It reports whether it did.
func (p *peers) succeed(ctx context.Context, l lead) bool {
	s := p.store
	rank := s.rank(l.id)
	if rank < 0 {
		return false
	}
	least := s.cfg.HeartbeatTimeout / silence
	wait := max(least-time.Since(s.raft.LastContact()), 0) + time.Duration(rank)*turn
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for waiting := true; waiting; {
		now := s.lead.get()
		if now.id != "" && now.id != l.id {
			return false
		}
		// Where nobody leads any more, one before this one has stood, and maybe not won: its
		// log may be shorter.
		select {
		case <-timer.C:
			waiting = false
		case <-now.changed:
		case <-ctx.Done():
			return false
		}
	}
	if _, err := p.client.Connect(ctx, l.address); !errors.Is(err, syscall.ECONNREFUSED) {
		return false
	}
	if now := s.lead.get(); now.id != "" && now.id != l.id || time.Since(s.raft.LastContact()) < least {
		return false
	}
	s.log.Info("The leader's process is gone: standing for election", "leader", l.id, "address", l.address)
	return p.stand(ctx, l) == nil
}

// rank is this server's place among the voters but for one; negative if it has no vote.
func (s *Store) rank(without string) int {
	var ids []string
	for _, m := range s.Peers() {
		if m.Voter && m.ID != without {
			ids = append(ids, m.ID)
		}
	}
	slices.Sort(ids)
	return slices.Index(ids, s.cfg.NodeID)
}
