package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"

	"github.com/pintle-dev/pintle/core/store/internal/fsm"
	"github.com/pintle-dev/pintle/core/store/internal/peer"
)

const (
	// A write or a read of the newest state waits so many heartbeat timeouts for a leader.
	patienceTimeouts = 4
	// A leader that refuses, because it has only just begun or is about to end, is asked
	// again after this time.
	askAgain = 20 * time.Millisecond
	// graceAfterLead is how long an answer of a server that no longer leads is waited for.
	graceAfterLead = 500 * time.Millisecond
)

// onChangeKey is that of a function in a context that call tells when who is asked no longer
// leads, which is before it gives the answer up.
type onChangeKey struct{}

func (s *Store) patience() time.Duration { return patienceTimeouts * s.cfg.HeartbeatTimeout }

// submit gets one entry agreed on and applied here, through whoever leads. Where an attempt
// certainly left nothing in the log it is made again, for as long as patience. The entry
// belongs to Raft from then on.
func (s *Store) submit(ctx context.Context, entry []byte) (fsm.Response, error) {
	var response fsm.Response
	err := s.withLeader(ctx, func(l lead) (err error) {
		if l.self {
			response, err = s.applyHere(entry)
		} else {
			response, err = s.relay(ctx, l, entry)
		}
		return err
	})
	return response, err
}

// withLeader calls ask with who leads until it returns something else than ErrNotLeader,
// the context ends or nobody has led for too long. Its error wraps ErrNotLeader then, and
// the context's where that has ended: certainly nothing was done.
func (s *Store) withLeader(ctx context.Context, ask func(lead) error) error {
	var (
		patience <-chan time.Time
		refused  error
	)
	for {
		if s.removed.Load() {
			return s.notLeader()
		}
		l := s.lead.get()
		again := (<-chan time.Time)(nil)
		if l.id != "" {
			if refused = ask(l); !errors.Is(refused, ErrNotLeader) || errors.Is(refused, ErrRemoved) {
				return refused
			}
			again = time.After(askAgain)
		} else if refused == nil && time.Since(l.since) > s.patience() {
			return s.notLeader() // It has been so for long; nobody needs to wait for that again.
		}
		if patience == nil {
			patience = time.After(s.patience())
		}
		select {
		case <-l.changed:
		case <-again:
		case <-ctx.Done():
			return errors.Join(s.notLeader(), ctx.Err())
		case <-s.closing:
			return ErrClosed
		case <-patience:
			if refused == nil {
				refused = s.notLeader()
			}
			return refused
		}
	}
}

// applyHere proposes an entry as the leader.
func (s *Store) applyHere(entry []byte) (fsm.Response, error) {
	if !s.proposesHere() {
		return fsm.Response{}, s.notLeader()
	}
	future := s.raft.Apply(entry, enqueueTimeout)
	if err := future.Error(); err != nil {
		return fsm.Response{}, proposalError(err)
	}
	response, _ := future.Response().(fsm.Response)
	if response.Err != nil {
		return fsm.Response{}, fmt.Errorf("%w: %w", ErrUnknownOutcome, response.Err)
	}
	return response, nil
}

// relay has the leader propose an entry, and waits until it is applied here.
func (s *Store) relay(ctx context.Context, l lead, entry []byte) (fsm.Response, error) {
	body, err := s.call(ctx, l, kindPropose, entry)
	if err != nil {
		return fsm.Response{}, err
	}
	results, at, err := decodeProposed(body)
	if err != nil {
		return fsm.Response{}, fmt.Errorf("%w: answer of the leader: %w", ErrUnknownOutcome, err)
	}
	s.peers.hear(l, at)
	ctx, cancel := context.WithTimeout(ctx, s.patience())
	defer cancel()
	if err := s.WaitFor(ctx, at.revision); err != nil {
		return fsm.Response{}, fmt.Errorf("%w: it was applied up to revision %d by the leader: %w", ErrUnknownOutcome, at.revision, err)
	}
	if err := s.fill(ctx, entry, results); err != nil {
		return fsm.Response{}, fmt.Errorf("%w: it was applied up to revision %d: %w", ErrUnknownOutcome, at.revision, err)
	}
	return fsm.Response{Results: results}, nil
}

// call asks l and gives its errors the names that callers know. It gives up soon after l
// is no longer believed to lead: a server that was stopped answers when it is woken.
func (s *Store) call(ctx context.Context, l lead, kind byte, body []byte) ([]byte, error) {
	if s.peers == nil {
		return nil, s.notLeader()
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	done := make(chan struct{})
	defer close(done)
	onChange, _ := ctx.Value(onChangeKey{}).(func())
	go func() {
		select {
		case <-l.changed:
		case <-done:
			return
		}
		if onChange != nil {
			onChange()
		}
		wait := graceAfterLead
		if kind == kindBarrier {
			wait = 0 // It is only a question.
		}
		grace := time.NewTimer(wait)
		defer grace.Stop()
		select {
		case <-grace.C:
			cancel(fmt.Errorf("%s no longer leads", l.id))
		case <-done:
		}
	}()
	answer, err := s.peers.client.Call(ctx, l.address, kind, body)
	if err == nil {
		return answer, nil
	}
	var refusal *peer.Refusal
	switch {
	case errors.As(err, &refusal):
		if kind == kindAsk {
			return nil, refusedQuestion(l.id, refusal)
		}
		s.peers.removal(refusal)
		return nil, refusedBy(l, refusal)
	case errors.Is(err, peer.ErrNotSent):
		return nil, fmt.Errorf("%w: %w", ErrNotLeader, err)
	}
	return nil, fmt.Errorf("%w: %w", ErrUnknownOutcome, err)
}

// Barrier returns once every write that was acknowledged before the call, by any server, is
// applied here, so that a following read is linearizable. Without a leader that a majority
// follows it fails with ErrNotLeader. Concurrent calls share one question to the others.
func (s *Store) Barrier(ctx context.Context) error {
	if s.isClosed() {
		return ErrClosed
	}
	// The leader acknowledges nothing that it has not applied, and alone nobody else can lead.
	if s.voters() == 1 {
		if ready, _ := s.leading.get(); ready {
			return nil
		}
	}
	return s.barriers.join(ctx, s.barrier)
}

// barrier is one question for all who wait.
func (s *Store) barrier() error {
	ctx, cancel := context.WithTimeout(context.Background(), s.patience()+graceAfterLead)
	defer cancel()
	err := s.withLeader(ctx, func(l lead) error {
		if l.self {
			_, err := s.verified(ctx)
			return err
		}
		body, err := s.call(ctx, l, kindBarrier, nil)
		if errors.Is(err, ErrUnknownOutcome) {
			return fmt.Errorf("%w: %s", ErrNotLeader, err.Error()) // It was only a question, nothing was written.
		}
		if err != nil {
			return err
		}
		at, err := decodePosition(body)
		if err != nil {
			return err
		}
		s.peers.hear(l, at)
		if err := s.WaitFor(ctx, at.revision); err != nil {
			return fmt.Errorf("%w: behind the leader: %w", ErrNotLeader, err)
		}
		return nil
	})
	if err != nil && !errors.Is(err, ErrNotLeader) && !errors.Is(err, ErrClosed) && !errors.Is(err, ErrRemoved) {
		return fmt.Errorf("%w: %w", ErrNotLeader, err)
	}
	return err
}

// verified is where this leader stands, once it is sure that it still leads: nothing that
// was acknowledged before the call is newer.
func (s *Store) verified(ctx context.Context) (position, error) {
	ready, _ := s.leading.get()
	switch {
	case s.raft.State() != raft.Leader:
		return position{}, s.notLeader()
	case !ready:
		if err := s.waitReady(ctx); err != nil {
			return position{}, fmt.Errorf("%w: %w", ErrNotLeader, err)
		}
	}
	commit := s.raft.CommitIndex()
	if s.voters() == 1 {
		return s.reachedCommit(ctx, commit)
	}
	verified := s.raft.VerifyLeader()
	done := make(chan error, 1)
	go func() { done <- verified.Error() }()
	select {
	case err := <-done:
		if err != nil {
			return position{}, fmt.Errorf("%w: %w", ErrNotLeader, err)
		}
		return s.reachedCommit(ctx, commit)
	case <-ctx.Done():
		return position{}, fmt.Errorf("%w: asking the others whether this server still leads: %w", ErrNotLeader, ctx.Err())
	}
}

// reachedCommit is where this leader stands, once it has applied what was committed: followers
// that were faster may have shown it.
func (s *Store) reachedCommit(ctx context.Context, commit uint64) (position, error) {
	if err := s.waitCommitted(ctx, commit); err != nil {
		return position{}, fmt.Errorf("%w: what is committed is not applied yet: %w", ErrNotLeader, err)
	}
	return s.position(), nil
}

// Standing is where a server stood when it began to judge a request by its own state: the
// term in which it led, 0 where it asked the leader.
type Standing uint64

// CatchUp is what a server does before it judges a request by its own state: on a follower
// it is Barrier. A leader only waits until it has applied what is committed, which faster
// followers may have shown: what it writes is guarded. What it answers without writing it
// has to Confirm.
func (s *Store) CatchUp(ctx context.Context) (Standing, error) {
	term := s.leading.readyIn.Load()
	if term == 0 {
		return 0, s.Barrier(ctx)
	}
	if s.voters() == 1 {
		return Standing(term), nil
	}
	return Standing(term), s.waitCommitted(ctx, s.raft.CommitIndex())
}

// Confirm makes sure that what was read since CatchUp was the newest state. It fails with
// ErrNotLeader where this server led then and does not any more: others may have written
// before it noticed, and what is newest now says nothing of what was read.
func (s *Store) Confirm(ctx context.Context, at Standing) error {
	if at == 0 {
		return nil
	}
	if s.isClosed() {
		return ErrClosed
	}
	if s.voters() > 1 {
		// Those who ask at the same time share an answer that is newer than all of them.
		if err := s.barriers.join(ctx, s.barrier); err != nil {
			return err
		}
	}
	// Whom Raft has told of another leader it has told of a later term, before anything else
	// hears of it.
	if s.raft.CurrentTerm() != uint64(at) {
		return fmt.Errorf("%w: the lead has changed since the request was begun", ErrNotLeader)
	}
	return nil
}
