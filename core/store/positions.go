package store

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/pintle-dev/pintle/core/store/internal/fsm"
	"github.com/pintle-dev/pintle/core/store/internal/value"
)

// position is where a leader stands.
type position struct {
	// revision is applied.
	revision uint64
	// commit is an entry of the log that is committed and was written in term: who has it
	// has everything before it too. 0 where the leader has only just begun.
	commit, term uint64
}

// position is where this server stands as the leader.
func (s *Store) position() position {
	at := position{revision: s.index.Revision()}
	term := s.leading.readyIn.Load()
	if commit := s.raft.CommitIndex(); term != 0 && s.raft.CurrentTerm() == term {
		at.commit, at.term = commit, term
	}
	return at
}

func (p position) append(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, p.revision)
	dst = binary.AppendUvarint(dst, p.commit)
	return binary.AppendUvarint(dst, p.term)
}

var errShort = errors.New("message too short")

func takeUvarint(b []byte) (uint64, []byte, error) {
	v, n := binary.Uvarint(b)
	if n <= 0 {
		return 0, nil, errShort
	}
	return v, b[n:], nil
}

func takePosition(b []byte) (p position, rest []byte, err error) {
	for _, to := range []*uint64{&p.revision, &p.commit, &p.term} {
		if *to, b, err = takeUvarint(b); err != nil {
			return position{}, nil, err
		}
	}
	return p, b, nil
}

func decodePosition(b []byte) (position, error) {
	p, rest, err := takePosition(b)
	if err == nil && len(rest) > 0 {
		err = fmt.Errorf("%d bytes too many", len(rest))
	}
	return p, err
}

// encodeProposed is the answer to a proposal: what became of each write, and a position that
// is not before them. The objects are not sent: the other server has them.
func encodeProposed(results []fsm.Result, at position) []byte {
	out := at.append(make([]byte, 0, 32+6*len(results)))
	for i := range results {
		out = append(out, byte(results[i].Outcome))
		out = binary.AppendUvarint(out, results[i].Revision)
	}
	return out
}

func decodeProposed(b []byte) ([]fsm.Result, position, error) {
	at, b, err := takePosition(b)
	if err != nil {
		return nil, position{}, err
	}
	var results []fsm.Result
	for len(b) > 0 {
		r := fsm.Result{Outcome: fsm.Outcome(b[0])}
		if r.Revision, b, err = takeUvarint(b[1:]); err != nil {
			return nil, position{}, err
		}
		results = append(results, r)
	}
	return results, at, nil
}

// written is what a write left at revision, which is applied here: the object, or where it
// was deleted its last state with that revision.
func (s *Store) written(ctx context.Context, key string, revision uint64) (value.Value, error) {
	if it := s.index.Get(key); it != nil && it.Revision == revision {
		if v := it.Value(); v != nil {
			return v, nil
		}
		o, err := s.object(it, false)
		if err != nil {
			return nil, err
		}
		return value.Make(o.Data, -1, revision), nil
	}
	// It was deleted, or written again since: the event still has it.
	w, err := s.Watch(ctx, Key(key), revision-1)
	if err != nil {
		return nil, err
	}
	defer w.Close()
	events, err := w.Poll(ctx)
	if err != nil {
		return nil, err
	}
	if len(events) == 0 || events[0].Revision != revision {
		return nil, fmt.Errorf("%s has no event of revision %d", key, revision)
	}
	return value.Make(events[0].Data, -1, revision), nil
}
