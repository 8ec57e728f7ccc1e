package store

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/pintle-dev/pintle/core/store/internal/engine"
	"github.com/pintle-dev/pintle/core/store/internal/fsm"
)

// History is what the store still knows of changes under a prefix.
type History struct {
	// Horizon is the revision that the history begins after, Revision the one it ends at.
	Horizon, Revision uint64
	// First is the object as it was at Horizon, where one was asked for and it existed.
	First *Object
	// Changes in the order of their revisions.
	Changes []*Event
	// Notes are those of deletions, by their revision.
	Notes map[uint64][]byte
	// More is set where there are older changes than those here.
	More bool
}

// maxHistoryBytes bounds the objects that one history holds in memory, before and after each
// change.
const maxHistoryBytes = 16 << 20

// History returns the newest limit changes (0: all) under a prefix: "bucket/",
// "bucket/namespace/" or the key of one object, which need not exist any more. It reaches back
// to the horizon, or as far as some 16 MiB of objects go.
func (s *Store) History(ctx context.Context, prefix Key, limit int) (History, error) {
	if err := s.checkPrefix(prefix, true); err != nil {
		return History{}, err
	}
	for {
		h, err := s.history(ctx, prefix, limit)
		// The horizon may have moved while the history was read: what there is begins later.
		if (errors.Is(err, ErrCompacted) || errors.Is(err, engine.ErrCompacted)) && s.horizon.Load() > h.Horizon && ctx.Err() == nil {
			continue
		}
		if err != nil {
			return History{}, fmt.Errorf("history of %s: %w", prefix, s.readError(err))
		}
		return h, nil
	}
}

func (s *Store) history(ctx context.Context, prefix Key, limit int) (History, error) {
	h := History{Horizon: max(s.horizon.Load(), fsm.FirstRevision), Revision: s.index.Revision()}
	refs, more, err := s.engine.NewestHistory(ctx, string(prefix), h.Horizon, h.Revision, limit,
		func(key string) bool { return matches(string(prefix), key) })
	if err != nil {
		return h, err
	}
	h.More = more
	// From the newest back, as far as memory allows.
	for size := 0; len(refs) > 0; refs = refs[:len(refs)-1] {
		if size > maxHistoryBytes {
			h.More = true
			break
		}
		if err := ctx.Err(); err != nil {
			return h, err
		}
		ev, err := s.storedEvent(refs[len(refs)-1])
		if err != nil {
			return h, err
		}
		size += len(ev.Data) + len(ev.Prev)
		h.Changes = append(h.Changes, ev)
		if err := s.note(&h, ev); err != nil {
			return h, err
		}
	}
	slices.Reverse(h.Changes)
	if last := len(prefix) - 1; prefix[last] != '/' && !h.More {
		v, revision, found, err := s.engine.Get(string(prefix), h.Horizon)
		if err != nil {
			return h, err
		}
		if found {
			h.First = &Object{Key: prefix, Revision: revision, Data: v.Data()}
		}
	}
	if s.horizon.Load() > h.Horizon {
		return h, ErrCompacted
	}
	return h, nil
}

// note reads what was noted of a deletion.
func (s *Store) note(h *History, ev *Event) error {
	if ev.Type != Deleted {
		return nil
	}
	note, err := s.engine.Note(ev.Revision)
	if err == nil && note != nil {
		if h.Notes == nil {
			h.Notes = map[uint64][]byte{}
		}
		h.Notes[ev.Revision] = note
	}
	return err
}

// storedEvent makes the event of a stored version from it and the version before.
func (s *Store) storedEvent(r engine.Ref) (*Event, error) {
	prev, prevRevision, existed, err := s.engine.Get(r.Key, r.Revision-1)
	if err != nil {
		return nil, err
	}
	ev := &Event{Type: Added, Key: Key(r.Key), Revision: r.Revision}
	if existed {
		ev.Type, ev.Prev = Modified, prev.Data()
	}
	if r.Deleted {
		if !existed {
			return nil, fmt.Errorf("%w: %s before its deletion at revision %d", engine.ErrCompacted, r.Key, r.Revision)
		}
		ev.Type, ev.Data = Deleted, prev.WithRevision(prevRevision, r.Revision).Data()
		return ev, nil
	}
	v, err := s.engine.Load(r.Key, r.Revision)
	if err != nil {
		return nil, err
	}
	ev.Data = v.Data()
	return ev, nil
}
