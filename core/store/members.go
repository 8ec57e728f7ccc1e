package store

import (
	"context"
	"fmt"
	"time"

	"github.com/hashicorp/raft"
)

// Peer is a server that takes part in the replication.
type Peer struct {
	ID, Address string
	// Voter is unset for a server that only follows, a learner.
	Voter bool
}

// Peers lists the servers that take part, as far as this one knows.
func (s *Store) Peers() []Peer {
	var out []Peer
	for _, v := range s.raft.GetConfiguration().Configuration().Servers {
		out = append(out, Peer{ID: string(v.ID), Address: string(v.Address), Voter: v.Suffrage == raft.Voter})
	}
	return out
}

func (s *Store) voters() int {
	n := 0
	for _, v := range s.raft.GetConfiguration().Configuration().Servers {
		if v.Suffrage == raft.Voter {
			n++
		}
	}
	return n
}

// AddLearner lets the server id, which listens at address, follow without a vote. Only the
// leader can.
func (s *Store) AddLearner(ctx context.Context, id, address string) error {
	f := s.raft.AddNonvoter(raft.ServerID(id), raft.ServerAddress(address), 0, timeLeft(ctx))
	if err := f.Error(); err != nil {
		return fmt.Errorf("adding learner %s at %s: %w", id, address, proposalError(err))
	}
	return nil
}

// AddVoter makes the server id, which listens at address, a voter, or changes its
// address. Only the leader can.
func (s *Store) AddVoter(ctx context.Context, id, address string) error {
	f := s.raft.AddVoter(raft.ServerID(id), raft.ServerAddress(address), 0, timeLeft(ctx))
	if err := f.Error(); err != nil {
		return fmt.Errorf("adding voter %s at %s: %w", id, address, proposalError(err))
	}
	return nil
}

// RemoveServer takes the server id out. Only the leader can.
func (s *Store) RemoveServer(ctx context.Context, id string) error {
	if err := s.raft.RemoveServer(raft.ServerID(id), 0, timeLeft(ctx)).Error(); err != nil {
		return fmt.Errorf("removing server %s: %w", id, proposalError(err))
	}
	return nil
}

// TransferLeadership hands the lead to another voter, for a stop without a pause. Writes
// that come meanwhile wait for the new leader.
func (s *Store) TransferLeadership() error {
	if err := s.handOver(s.raft.LeadershipTransfer); err != nil {
		return fmt.Errorf("handing over the lead: %w", err)
	}
	return nil
}

// TransferLeadershipTo hands the lead to the voter id.
func (s *Store) TransferLeadershipTo(id string) error {
	for _, m := range s.Peers() {
		if m.ID != id {
			continue
		}
		if !m.Voter {
			return fmt.Errorf("handing over the lead: %s has no vote", id)
		}
		err := s.handOver(func() raft.Future {
			return s.raft.LeadershipTransferToServer(raft.ServerID(id), raft.ServerAddress(m.Address))
		})
		if err != nil {
			return fmt.Errorf("handing over the lead to %s: %w", id, err)
		}
		return nil
	}
	return fmt.Errorf("handing over the lead: there is no server %s", id)
}

// handOver lets what is on its way be applied first: an entry that is under way when the
// lead goes has an unknown outcome.
func (s *Store) handOver(transfer func() raft.Future) error {
	s.pausing.Add(1)
	defer s.pausing.Add(-1)
	if err := s.raft.Barrier(s.cfg.HeartbeatTimeout).Error(); err != nil {
		return err
	}
	return transfer().Error()
}

// proposesHere says whether this server may put entries into the log.
func (s *Store) proposesHere() bool {
	return s.raft.State() == raft.Leader && s.pausing.Load() == 0
}

// Removed says whether this server was told that it is no part of its cluster any more.
func (s *Store) Removed() bool { return s.removed.Load() }

// ID is this server's among the others: Config.NodeID.
func (s *Store) ID() string { return s.cfg.NodeID }

// Address is where this server takes part in the replication, as the others are told.
func (s *Store) Address() string { return string(s.transport.LocalAddr()) }

func timeLeft(ctx context.Context) time.Duration {
	if d, ok := ctx.Deadline(); ok {
		return max(time.Until(d), time.Millisecond)
	}
	return 0
}
