package store

import (
	"testing"

	"github.com/hashicorp/raft"

	"github.com/pintle-dev/pintle/core/store/internal/raftlog"
)

// TestVoteGuard: who has lost acknowledged entries votes as if it had them, and is voted for
// only when it has.
func TestVoteGuard(t *testing.T) {
	floor := raftlog.Position{Term: 3, Index: 100}
	for name, tc := range map[string]struct {
		term, index uint64
		passes      bool
	}{
		"shorter":        {3, 99, false},
		"as long":        {3, 100, true},
		"longer":         {3, 101, true},
		"of before":      {2, 1000, false},
		"of a later one": {4, 1, true},
		"empty":          {0, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			peerAddress, peer := raft.NewInmemTransport("peer")
			self, own := raft.NewInmemTransport("self")
			peer.Connect(self, own)
			own.Connect(peerAddress, peer)
			g := &voteGuard{Transport: own, floor: floor, rpcs: make(chan raft.RPC)}
			done := make(chan struct{})
			defer close(done)
			go g.pass(done)
			answer := func(in <-chan raft.RPC) {
				for {
					select {
					case rpc := <-in:
						switch rpc.Command.(type) {
						case *raft.RequestVoteRequest:
							rpc.Respond(&raft.RequestVoteResponse{Granted: true}, nil)
						case *raft.RequestPreVoteRequest:
							rpc.Respond(&raft.RequestPreVoteResponse{Granted: true}, nil)
						default:
							rpc.Respond(&raft.AppendEntriesResponse{Success: true}, nil)
						}
					case <-done:
						return
					}
				}
			}
			// Raft behind the guard would grant whatever reaches it.
			go answer(g.Consumer())
			var vote raft.RequestVoteResponse
			if err := peer.RequestVote("self", self, &raft.RequestVoteRequest{Term: 9, LastLogTerm: tc.term, LastLogIndex: tc.index}, &vote); err != nil {
				t.Fatal(err)
			}
			if vote.Granted != tc.passes {
				t.Errorf("its vote is given: %t", vote.Granted)
			}
			if !tc.passes {
				var before raft.RequestPreVoteResponse
				if err := peer.RequestPreVote("self", self, &raft.RequestPreVoteRequest{Term: 9, LastLogTerm: tc.term, LastLogIndex: tc.index}, &before); err != nil || before.Granted {
					t.Errorf("its vote before the vote is given: %t %v", before.Granted, err)
				}
			}
			go answer(peer.Consumer())
			err := g.RequestVote("peer", peerAddress, &raft.RequestVoteRequest{Term: 9, LastLogTerm: tc.term, LastLogIndex: tc.index}, &vote)
			if (err == nil) != tc.passes {
				t.Errorf("it asks for votes: %v", err)
			}
			// Everything else passes.
			var appended raft.AppendEntriesResponse
			if err := peer.AppendEntries("self", self, &raft.AppendEntriesRequest{Term: 9, Entries: []*raft.Log{{Index: 1}}}, &appended); err != nil || !appended.Success {
				t.Errorf("entries do not pass: %v", err)
			}
		})
	}
}
