package store

import (
	"fmt"

	"github.com/hashicorp/raft"

	"github.com/pintle-dev/pintle/core/store/internal/raftlog"
)

// voteGuard is the transport of a server that has lost entries which it had acknowledged, until
// it has them again. Its vote was given to nobody whose log ended before its own, and it was
// elected with nothing less: so it goes on as if it still had what it lost. A vote that is asked
// of it or by it counts only where the candidate's log comes at least as far as the lost one.
type voteGuard struct {
	raft.Transport
	floor raftlog.Position
	rpcs  chan raft.RPC
}

// guarded returns the transport that Raft is to use.
func (s *Store) guarded(t raft.Transport) (raft.Transport, error) {
	floor := s.logs.Floor()
	if floor == nil {
		return t, nil
	}
	at := s.logs.Extent().Last
	if taken, err := s.snapshots.List(); err != nil {
		return nil, err
	} else if len(taken) > 0 {
		if p := (raftlog.Position{Term: taken[0].Term, Index: taken[0].Index}); at.Before(p) {
			at = p
		}
	}
	if !at.Before(*floor) {
		s.log.Info("This server has all of its log again", "term", at.Term, "index", at.Index)
		return t, s.logs.ClearFloor()
	}
	g := &voteGuard{Transport: t, floor: *floor, rpcs: make(chan raft.RPC)}
	s.background.Add(1)
	go func() {
		defer s.background.Done()
		g.pass(s.closing)
	}()
	return g, nil
}

// Consumer implements raft.Transport.
func (g *voteGuard) Consumer() <-chan raft.RPC { return g.rpcs }

func (g *voteGuard) pass(done <-chan struct{}) {
	in := g.Transport.Consumer()
	for {
		select {
		case rpc := <-in:
			if answer := g.refuse(rpc.Command); answer != nil {
				rpc.Respond(answer, nil)
				continue
			}
			select {
			case g.rpcs <- rpc:
			case <-done:
				return
			}
		case <-done:
			return
		}
	}
}

// refuse returns the answer to a candidate who can't have the vote, nil to everything else.
func (g *voteGuard) refuse(command any) any {
	switch c := command.(type) {
	case *raft.RequestVoteRequest:
		if g.short(c.LastLogTerm, c.LastLogIndex) {
			return &raft.RequestVoteResponse{RPCHeader: c.RPCHeader}
		}
	case *raft.RequestPreVoteRequest:
		if g.short(c.LastLogTerm, c.LastLogIndex) {
			return &raft.RequestPreVoteResponse{RPCHeader: c.RPCHeader}
		}
	}
	return nil
}

func (g *voteGuard) short(term, index uint64) bool {
	return raftlog.Position{Term: term, Index: index}.Before(g.floor)
}

// RequestVote implements raft.Transport.
func (g *voteGuard) RequestVote(id raft.ServerID, target raft.ServerAddress, args *raft.RequestVoteRequest, resp *raft.RequestVoteResponse) error {
	if g.short(args.LastLogTerm, args.LastLogIndex) {
		return g.notYet()
	}
	return g.Transport.RequestVote(id, target, args, resp)
}

// RequestPreVote implements raft.WithPreVote.
func (g *voteGuard) RequestPreVote(id raft.ServerID, target raft.ServerAddress, args *raft.RequestPreVoteRequest, resp *raft.RequestPreVoteResponse) error {
	if g.short(args.LastLogTerm, args.LastLogIndex) {
		return g.notYet()
	}
	t, ok := g.Transport.(raft.WithPreVote)
	if !ok {
		return fmt.Errorf("%T knows no votes before votes", g.Transport)
	}
	return t.RequestPreVote(id, target, args, resp)
}

func (g *voteGuard) notYet() error {
	return fmt.Errorf("this server was damaged and asks for no vote before its log comes to term %d, index %d again", g.floor.Term, g.floor.Index)
}

// Close implements raft.WithClose.
func (g *voteGuard) Close() error {
	if c, ok := g.Transport.(raft.WithClose); ok {
		return c.Close()
	}
	return nil
}
