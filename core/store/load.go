package store

import (
	"errors"
	"fmt"

	"github.com/pintle-dev/pintle/core/store/internal/engine"
	"github.com/pintle-dev/pintle/core/store/internal/index"
)

// loadIndex reads the live objects at revision into a new index, their bytes as far as
// the budget goes. What is sealed and can't be opened is left on disk, or with strict an error.
func (s *Store) loadIndex(revision uint64, strict bool) (*index.Index, error) {
	const chunk = 1024
	var (
		budget  = s.cfg.CacheBytes
		shut    unopened
		x       = index.New(budget)
		changes = make([]index.Change, 0, chunk)
		used    int64
	)
	err := s.engine.LoadNewest(revision, func(n engine.Newest) error {
		c := index.Change{Key: n.Key, Revision: n.Revision}
		if !n.Deleted {
			c.New = index.NewItem(n.Key, n.Revision, nil)
			if used < budget || strict && n.Sealed {
				v, err := n.Load()
				switch {
				case errors.Is(err, engine.ErrSealed) && !strict:
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
	return x, nil
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
		return m, fmt.Errorf("the state is older (log index %d) than the snapshot of it (%d): files are missing",
			m.Applied, snapshot.Applied)
	}
	return m, nil
}
