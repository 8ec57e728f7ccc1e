package store

import (
	"errors"
	"fmt"

	"github.com/pintle-dev/pintle/core/store/internal/durable"
	"github.com/pintle-dev/pintle/core/store/internal/engine"
	"github.com/pintle-dev/pintle/core/store/internal/fsm"
	"github.com/pintle-dev/pintle/core/store/internal/index"
)

// loadIndex reads the live objects at revision into a new index, their bytes as far as
// the budget goes. What is sealed and can't be opened is left on disk, or with strict an error.
// A state that does not have what at says of it is damaged.
func (s *Store) loadIndex(at engine.Meta, strict bool) (*index.Index, error) {
	const chunk = 1024
	var (
		budget   = s.cfg.CacheBytes
		revision = at.Revision
		shut     unopened
		x        = index.New(budget)
		changes  = make([]index.Change, 0, chunk)
		used     int64
	)
	versions, err := s.engine.LoadCounted(max(at.Horizon, fsm.FirstRevision), revision, func(n engine.Newest) error {
		c := index.Change{Key: n.Key, Revision: n.Revision}
		if !n.Deleted {
			c.New = index.NewItem(n.Key, n.Revision, nil)
			if used < budget || strict && n.Sealed {
				v, err := n.Load()
				switch {
				case errors.Is(err, engine.ErrSealed) && strict:
					return fmt.Errorf("%s at revision %d: %w: configure the keys that the state was written with (store.encryption.keys)", n.Key, n.Revision, err)
				case errors.Is(err, engine.ErrSealed):
					shut.add(&n, err)
				case err != nil:
					return fmt.Errorf("%s at revision %d: %w", n.Key, n.Revision, err)
				case !v.Valid(n.Revision):
					return fmt.Errorf("%s at revision %d: stored bytes are damaged", n.Key, n.Revision)
				default:
					used += int64(len(v))
					c.New = index.NewItem(n.Key, n.Revision, v)
				}
			}
		}
		if changes = append(changes, c); len(changes) == chunk {
			x.Install(changes, revision)
			changes = changes[:0]
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading the state: %w", err)
	}
	x.Install(changes, revision)
	shut.report(s.log)
	if at.Digest != 0 {
		if err := complete(s.engine.Path(), x, at, versions); err != nil {
			return nil, err
		}
	}
	return x, nil
}

// complete checks that the state has exactly the objects that it had, and one version for each
// revision of its history.
func complete(path string, x *index.Index, at engine.Meta, versions uint64) error {
	if _, digest := x.State(); digest != at.Digest {
		return &durable.Damage{Path: path, Offset: -1, Reason: fmt.Sprintf(
			"its %d objects are not those of revision %d (their sum is %016x and was %016x)", x.Len(), at.Revision, digest, at.Digest)}
	}
	if want := at.Revision - min(at.Revision, max(at.Horizon, fsm.FirstRevision)); versions != want {
		return &durable.Damage{Path: path, Offset: -1, Reason: fmt.Sprintf(
			"its history from revision %d to %d has %d changes and should have %d", at.Horizon, at.Revision, versions, want)}
	}
	return nil
}

// recoverMeta says from where the state goes on. What is on disk is believed as far as
// it surely arrived there; the Raft log has the rest.
func recoverMeta(e *engine.Engine, snapshot engine.Meta) (engine.Meta, error) {
	if !e.Trusted() {
		// The history between the snapshot and the crash may have holes until the log is
		// applied again.
		snapshot.Horizon = snapshot.Revision
		return snapshot, nil
	}
	m, err := e.Meta()
	if err != nil {
		return m, err
	}
	if m.Applied < snapshot.Applied {
		return m, &durable.Damage{Path: e.Path(), Offset: -1, Reason: fmt.Sprintf(
			"it is older (log index %d) than the snapshot of it (%d): files are missing", m.Applied, snapshot.Applied)}
	}
	return m, nil
}
