package store

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/hashicorp/raft"

	"github.com/pintle-dev/pintle/core/store/internal/command"
	"github.com/pintle-dev/pintle/core/store/internal/fsm"
	"github.com/pintle-dev/pintle/core/store/internal/peer"
)

// Kinds of messages between servers.
const (
	// kindPropose carries a log entry; the leader answers when it has applied it.
	kindPropose byte = iota + 1
	// kindBarrier asks the leader for a position that nothing acknowledged is behind.
	kindBarrier
	// kindFollow asks the leader to tell its position whenever it moves.
	kindFollow
	// kindAsk carries what a layer above wants to know (Config.Asked).
	kindAsk
	// kindSilence asks for how long the leader that is named has not been heard.
	kindSilence
)

// Codes of refusals.
const (
	codeOther uint16 = iota
	codeNotLeader
	codeUnknown
	codeNoSpace
	codeRemoved
)

// peers is how this server talks with the others.
type peers struct {
	store  *Store
	mux    *peer.Mux
	client *peer.Client
	// inject hands a message to Raft.
	inject func(ctx context.Context, command any) (any, error)

	// heard is the newest position of a leader that this server has been told.
	mu    sync.Mutex
	heard struct {
		lead lead
		at   position
	}
	news chan struct{}
}

func newPeers(s *Store, mux *peer.Mux) *peers {
	p := &peers{store: s, mux: mux, news: make(chan struct{}, 1)}
	p.client = peer.NewClient(s.cfg.NodeID, s.cfg.PeerTLS, p.notice)
	return p
}

// start begins to answer. Raft must run.
func (p *peers) start() {
	p.mux.Serve(p.handle)
	p.store.background.Add(3)
	go p.follow()
	go p.watchSilence()
	go p.learn()
}

func (p *peers) handle(ctx context.Context, r peer.Request) ([]byte, error) {
	s := p.store
	var (
		answer []byte
		err    error
	)
	switch r.Kind {
	case kindPropose:
		answer, err = p.propose(r)
	case kindBarrier:
		var at position
		if err = p.member(r); err == nil {
			if at, err = s.verified(ctx); err == nil {
				answer = at.append(nil)
			}
		}
	case kindFollow:
		err = p.tell(ctx, r)
	case kindSilence:
		answer = s.silence(string(r.Body))
	case kindAsk:
		if s.cfg.Asked == nil {
			err = errors.New("this server answers no such question")
			break
		}
		answer, err = s.cfg.Asked(ctx, r.From, r.Body)
	default:
		err = fmt.Errorf("message of the unknown kind %d; is this server older than that one?", r.Kind)
	}
	if err != nil {
		return nil, refusal(err)
	}
	return answer, nil
}

// member refuses those who are no part of the cluster (any more), as the leader sees it.
func (p *peers) member(r peer.Request) error {
	if p.store.raft.State() != raft.Leader {
		return nil
	}
	for _, m := range p.store.Peers() {
		if m.ID == r.From {
			return nil
		}
	}
	return fmt.Errorf("%w: %s", ErrRemoved, r.From)
}

// propose puts another server's entry into the log.
func (p *peers) propose(r peer.Request) ([]byte, error) {
	if err := p.member(r); err != nil {
		return nil, err
	}
	if err := p.store.room.check(false); err != nil && !frees(r.Body) {
		return nil, err
	}
	response, err := p.store.applyHere(r.Body)
	if err != nil {
		return nil, err
	}
	return encodeProposed(response.Results, p.store.position()), nil
}

// frees says whether an entry only deletes.
func frees(entry []byte) bool {
	cmd, err := command.Parse(entry)
	if err != nil || cmd.Kind == command.Compact {
		return true // The state machine knows what to do with it.
	}
	var w command.Write
	for cmd.More() {
		if err := cmd.Next(&w); err != nil || !w.Delete && !w.Check {
			return false
		}
	}
	return true
}

func refusal(err error) error {
	code := codeOther
	switch {
	case errors.Is(err, ErrUnknownOutcome):
		code = codeUnknown
	case errors.Is(err, ErrRemoved):
		code = codeRemoved
	case errors.Is(err, ErrNotLeader), errors.Is(err, ErrClosed):
		code = codeNotLeader
	case errors.Is(err, ErrNoSpace):
		code = codeNoSpace
	}
	return &peer.Refusal{Code: code, Message: err.Error()}
}

// refusedBy is the error that the leader's refusal stands for.
func refusedBy(l lead, r *peer.Refusal) error {
	switch r.Code {
	case codeNotLeader:
		return fmt.Errorf("%w: said %s: %s", ErrNotLeader, l.id, r.Message)
	case codeUnknown:
		return fmt.Errorf("%w: said %s: %s", ErrUnknownOutcome, l.id, r.Message)
	case codeNoSpace:
		return fmt.Errorf("%w: said %s: %s", ErrNoSpace, l.id, r.Message)
	case codeRemoved:
		return fmt.Errorf("%w: %w: said %s: %s", ErrNotLeader, ErrRemoved, l.id, r.Message)
	}
	return fmt.Errorf("%w by %s: %s", ErrRefused, l.id, r.Message)
}

// refusedQuestion is the error of a question that was answered with a reason not to. It may be
// about another server than this one, on whose behalf it was asked.
func refusedQuestion(by string, r *peer.Refusal) error {
	switch r.Code {
	case codeNotLeader:
		return fmt.Errorf("%w: said %s: %s", ErrNotLeader, by, r.Message)
	case codeRemoved:
		return fmt.Errorf("%w by %s: %w: %s", ErrRefused, by, ErrRemoved, r.Message)
	}
	return fmt.Errorf("%w by %s: %s", ErrRefused, by, r.Message)
}

// Ask sends a question to the server that listens for others at address, or to whoever leads
// where address is empty, and returns what its Config.Asked answers. An error does not tell
// whether the question arrived.
func (s *Store) Ask(ctx context.Context, address string, question []byte) ([]byte, error) {
	if s.peers == nil {
		if l := s.lead.get(); address == "" && l.self && s.cfg.Asked != nil {
			return s.cfg.Asked(ctx, s.cfg.NodeID, question)
		}
		return nil, errors.New("this server has no address for other servers")
	}
	var answer []byte
	ask := func(l lead) (err error) {
		if l.self {
			if s.cfg.Asked == nil {
				return errors.New("this server answers no questions")
			}
			answer, err = s.cfg.Asked(ctx, s.cfg.NodeID, question)
			return err
		}
		answer, err = s.call(ctx, l, kindAsk, question)
		return err
	}
	if address != "" {
		answer, err := s.peers.client.Call(ctx, address, kindAsk, question)
		var refusal *peer.Refusal
		if errors.As(err, &refusal) {
			err = refusedQuestion(address, refusal)
		}
		return answer, err
	}
	return answer, s.withLeader(ctx, ask)
}

// fill adds to another server's results what this one has of them.
func (s *Store) fill(ctx context.Context, entry []byte, results []fsm.Result) error {
	cmd, err := command.Parse(entry)
	if err != nil {
		return err
	}
	var w command.Write
	for i := range results {
		if err := cmd.Next(&w); err != nil {
			return err
		}
		switch r := &results[i]; r.Outcome {
		case fsm.Done:
			if w.Check {
				continue
			}
			if r.Value, err = s.written(ctx, w.Key, r.Revision); err != nil {
				return err
			}
		case fsm.Exists, fsm.Conflict:
			r.Item = s.index.Get(w.Key)
		}
	}
	return nil
}
