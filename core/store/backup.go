package store

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/pintle-dev/pintle/core/store/internal/engine"
)

// Backup is the whole state at one revision, which stays readable, whatever is written
// meanwhile, until Close. What was before that revision is not in it.
type Backup struct {
	store   *Store
	meta    engine.Meta
	release func()
}

// Backup pins the state at the newest revision applied here. On a server that may be behind,
// Barrier comes first. The caller closes it soon: old versions that it needs stay on the disk.
func (s *Store) Backup() (*Backup, error) {
	for {
		if s.isClosed() {
			return nil, ErrClosed
		}
		revision := s.index.Revision()
		release := s.engine.Pin(revision)
		// The horizon is published before the engine lets anything go, so what it does not
		// say now is pinned.
		if s.horizon.Load() <= revision {
			return &Backup{store: s, meta: engine.Meta{Revision: revision}, release: release}, nil
		}
		release()
	}
}

// Revision of the state.
func (b *Backup) Revision() uint64 { return b.meta.Revision }

// Stream writes the state to w, in bounded memory, and returns the number of objects. It may
// take as long as w does; writes go on meanwhile.
func (b *Backup) Stream(ctx context.Context, w io.Writer) (objects uint64, err error) {
	objects, err = b.store.engine.WriteStream(ctx, w, b.meta)
	if errors.Is(err, engine.ErrReplaced) {
		return 0, fmt.Errorf("backup at revision %d: this server was far behind and has received a newer state from the leader; try again: %w", b.meta.Revision, err)
	}
	if err != nil {
		return 0, fmt.Errorf("backup at revision %d: %w", b.meta.Revision, b.store.readError(err))
	}
	return objects, nil
}

// Close lets old versions go. It may be called more than once.
func (b *Backup) Close() { b.release() }

// ReadBackup reads what Backup.Stream wrote, checks it to its end, and calls fn with each object
// in the order of keys. An object's Data is what is stored, which may be sealed. Nothing that
// fn was given counts where an error is returned.
func ReadBackup(r io.Reader, fn func(Object) error) (revision uint64, err error) {
	meta, err := engine.ReadStream(r, func(records []engine.Record) error {
		for _, rec := range records {
			if err := fn(Object{Key: Key(rec.Key), Revision: rec.Revision, Data: rec.Value.Data()}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("reading the state: %w", err)
	}
	return meta.Revision, nil
}
