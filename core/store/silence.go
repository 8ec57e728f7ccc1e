package store

import (
	"context"
	"encoding/binary"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
)

// Raft's followers notice a silent leader at random times, one to three heartbeat timeouts after
// its last word, and each votes for another one only when it has noticed itself. So that a
// leader whose machine is gone is followed sooner, a follower that has heard nothing for one
// timeout asks the others for how long they have heard nothing, and stands for election when
// most of all voters agree. A follower that is only cut off itself, or was not given the
// processor, finds nobody to agree and disturbs nobody.

const (
	// askSilence bounds the question.
	askSilence = 200 * time.Millisecond
	// agreeing is the part of the timeout for which others must have heard nothing, in percent.
	agreeing = 70
)

// watchSilence stands for election in place of a leader that nobody hears.
func (p *peers) watchSilence() {
	s := p.store
	defer s.background.Done()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() { <-s.closing; cancel() }()
	timeout := s.cfg.HeartbeatTimeout
	var l lead // the last one known; nobody leads while somebody stands, and may not win
	for ctx.Err() == nil {
		now, wait := s.lead.get(), timeout
		if now.id != "" {
			l = now
		}
		if rank := s.rank(l.id); l.id != "" && !l.self && rank >= 0 {
			wait = timeout + time.Duration(rank)*turn - time.Since(s.raft.LastContact())
			if wait <= 0 {
				if p.unheard(ctx, l) && s.lead.get().changed == now.changed {
					s.log.Info("Nobody hears the leader: standing for election", "leader", l.id, "address", l.address)
					_ = p.stand(ctx, l)
				}
				wait = timeout
			}
		}
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-now.changed:
		case <-ctx.Done():
		}
		t.Stop()
	}
}

// unheard asks the other voters and reports whether, with this one, most of all have heard
// nothing of l.
func (p *peers) unheard(ctx context.Context, l lead) bool {
	ctx, cancel := context.WithTimeout(ctx, askSilence)
	defer cancel()
	var (
		agree  atomic.Int32
		wg     sync.WaitGroup
		voters int
	)
	agree.Store(1)
	for _, m := range p.store.Peers() {
		if !m.Voter {
			continue
		}
		if voters++; m.ID == l.id || m.ID == p.store.cfg.NodeID {
			continue
		}
		wg.Go(func() {
			body, err := p.client.Call(ctx, m.Address, kindSilence, []byte(l.id))
			if err != nil {
				return
			}
			ms, _, err := takeUvarint(body)
			if err == nil && ms >= uint64(p.store.cfg.HeartbeatTimeout.Milliseconds())*agreeing/100 {
				agree.Add(1)
			}
		})
	}
	wg.Wait()
	return int(agree.Load()) > voters/2
}

// silence answers for how many milliseconds this server has heard nothing of the leader id.
func (s *Store) silence(id string) []byte {
	ms := uint64(math.MaxInt32) // nobody leads
	if l := s.lead.get(); l.id == id && !l.self {
		ms = uint64(max(time.Since(s.raft.LastContact()).Milliseconds(), 0))
	} else if l.id != "" {
		ms = 0
	}
	return binary.AppendUvarint(nil, ms)
}

// stand makes Raft stand for election now, as if l had handed over the lead.
func (p *peers) stand(ctx context.Context, l lead) error {
	if p.store.raft.State() != raft.Follower {
		return nil // It does already.
	}
	_, err := p.inject(ctx, &raft.TimeoutNowRequest{RPCHeader: raft.RPCHeader{
		ProtocolVersion: raft.ProtocolVersionMax, ID: []byte(l.id),
		Addr: p.store.transport.EncodePeer(raft.ServerID(l.id), raft.ServerAddress(l.address)),
	}})
	return err
}
