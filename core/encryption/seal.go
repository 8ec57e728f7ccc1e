package encryption

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pintle-dev/pintle/core/store"
)

// Seal implements store.Sealer.
func (k *Keyring) Seal(ctx context.Context, key store.Key, at int, data []byte) ([]byte, error) {
	for {
		c := k.current.Load()
		if c != nil {
			left := c.left.Add(-1)
			if left == lowSeals {
				go k.more(c)
			}
			if left >= 0 {
				return seal(c.aead, c.id, key, at, data), nil
			}
		}
		if err := k.reserve(ctx, c); err != nil {
			return nil, err
		}
	}
}

// more gets the next block of seals before the last one is used up.
func (k *Keyring) more(spent *sealing) {
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	if err := k.reserve(ctx, spent); err != nil {
		k.log.Warn("Taking a data key for further use failed; it is tried again when it is needed", "error", err)
	}
}

// reserve makes another block of seals current than spent, for which it may make a data key.
func (k *Keyring) reserve(ctx context.Context, spent *sealing) error {
	select {
	case <-k.attached:
	case <-ctx.Done():
		return fmt.Errorf("the store is not open yet: %w", ctx.Err())
	}
	select {
	case k.reserving <- struct{}{}:
		defer func() { <-k.reserving }()
	case <-ctx.Done():
		return ctx.Err()
	}
	for k.current.Load() == spent {
		next, err := k.block(ctx)
		if err != nil {
			return err
		}
		if next == nil {
			continue
		}
		k.mu.Lock()
		if k.newest == next.id {
			k.current.Store(next)
		}
		k.mu.Unlock()
	}
	return nil
}

// block takes a block of the newest data key's seals, or of a new one's where that has no more.
// It returns nil where others were faster.
func (k *Keyring) block(ctx context.Context) (*sealing, error) {
	k.mu.Lock()
	id := k.newest
	k.mu.Unlock()
	if id == 0 {
		return nil, k.create(ctx, false)
	}
	aead, err := k.aead(ctx, id)
	if err != nil && k.cfg.AllowMissing {
		return nil, k.create(ctx, false)
	}
	if err != nil {
		return nil, err
	}
	o, err := k.store.Get(ctx, recordKey(id))
	if errors.Is(err, store.ErrNotFound) {
		return nil, pause(ctx)
	}
	if err != nil {
		return nil, err
	}
	r, err := parseRecord(o.Data)
	if err != nil {
		return nil, fmt.Errorf("data key %d: %w", id, err)
	}
	if r.Reserved+blockSeals > maxSeals {
		return nil, k.create(ctx, false)
	}
	r.Reserved += blockSeals
	w, err := r.write(id, store.Expectation(o.Revision))
	if err != nil {
		return nil, err
	}
	switch _, err := k.store.Write(ctx, w); {
	case errors.Is(err, store.ErrConflict), errors.Is(err, store.ErrNotFound):
		return nil, pause(ctx)
	case err != nil:
		return nil, fmt.Errorf("taking data key %d for use: %w", id, err)
	}
	s := &sealing{id: id, aead: aead}
	s.left.Store(blockSeals)
	return s, nil
}

// create makes the next data key. Where another server has just made one, that is as good.
func (k *Keyring) create(ctx context.Context, replaces bool) error {
	k.mu.Lock()
	id := k.newest + 1
	k.mu.Unlock()
	key, err := newKey()
	if err != nil {
		return err
	}
	aead, err := newAEAD(key)
	if err != nil {
		return err
	}
	r := record{Created: time.Now().UTC().Truncate(time.Second), Replaces: replaces}
	if err := k.wrap(ctx, &r, key); err != nil {
		return err
	}
	w, err := r.write(id, store.MustNotExist)
	if err != nil {
		return err
	}
	switch _, err := k.store.Write(ctx, w); {
	case errors.Is(err, store.ErrExists):
		return pause(ctx)
	case err != nil:
		return fmt.Errorf("writing data key %d: %w", id, err)
	}
	// It was learned when it was applied; what a key manager has wrapped need not come back.
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.keys[id] != nil {
		k.useLocked(id, aead)
	}
	k.log.Info("A new data key is in use", "dataKey", id, "wrappedBy", r.WrappedBy, "key", r.KeyID, "replaces", replaces)
	return nil
}

// wrap wraps a data key for its record.
func (k *Keyring) wrap(ctx context.Context, r *record, key []byte) error {
	by, name := k.wrapper()
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	w, err := by.Wrap(ctx, key)
	if err != nil {
		return fmt.Errorf("wrapping a data key: %w", err)
	}
	r.WrappedBy, r.KeyID, r.Wrapped = name, w.KeyID, w.Data
	return nil
}

// pause is what it takes until another server's write is seen here.
func pause(ctx context.Context) error {
	select {
	case <-time.After(10 * time.Millisecond):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
