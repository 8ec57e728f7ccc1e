package encryption

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pintle-dev/pintle/core/store"
)

// lead works while this server leads.
func (k *Keyring) lead(ctx context.Context) error {
	select {
	case <-k.attached:
	case <-ctx.Done():
		return nil
	}
	for ctx.Err() == nil {
		changed := k.store.LeadershipChanged()
		if leads, _ := k.store.Leadership(); leads {
			term, cancel := context.WithCancel(ctx)
			stop := context.AfterFunc(ctx, cancel)
			go func() {
				select {
				case <-changed:
					cancel()
				case <-term.Done():
				}
			}()
			k.work(term)
			stop()
			cancel()
			continue
		}
		select {
		case <-changed:
		case <-ctx.Done():
		}
	}
	return nil
}

// work brings everything in line, and again when there is a reason, until ctx ends.
func (k *Keyring) work(ctx context.Context) {
	unused := map[uint64]time.Time{}
	wait := time.Duration(0)
	for {
		woken := k.woken()
		err := k.tidy(ctx, unused)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			wait = min(max(2*wait, firstPause), lastPause)
			k.log.Error("Sealing what is stored as it should be has failed; it is tried again", "in", wait, "error", err)
			woken = nil // not faster
		default:
			wait = 0
		}
		pause := wait
		if pause == 0 {
			// A write that was under way may have used an old key, and old keys are deleted.
			pause = k.cfg.ForgetAfter / 2
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		case <-woken:
		}
		timer.Stop()
	}
}

// tidy is one round of work.
func (k *Keyring) tidy(ctx context.Context, unused map[uint64]time.Time) error {
	if err := k.rotateWrapping(ctx); err != nil {
		return err
	}
	if !k.cfg.Resources.Any() && len(k.ids()) == 0 {
		return nil // nothing was ever sealed
	}
	if err := k.rewriteAll(ctx); err != nil {
		return err
	}
	return k.forgetUnused(ctx, unused)
}

// rotateWrapping follows the wrapper's key: where that has changed, a new data key is made, which
// replaces those before, and all are wrapped by it.
func (k *Keyring) rotateWrapping(ctx context.Context) error {
	w, name := k.wrapper()
	call, cancel := context.WithTimeout(ctx, callTimeout)
	st, err := w.Status(call)
	cancel()
	if err != nil {
		return fmt.Errorf("the key that wraps data keys: %w", err)
	}
	wrapped := func(id uint64) bool {
		k.mu.Lock()
		defer k.mu.Unlock()
		d := k.keys[id]
		return d == nil || d.WrappedBy == name && d.KeyID == st.KeyID
	}
	if newest := k.newestID(); newest != 0 && !wrapped(newest) && k.cfg.Resources.Any() {
		if err := k.create(ctx, true); err != nil {
			return err
		}
	}
	for _, id := range k.ids() {
		if wrapped(id) {
			continue
		}
		if err := k.rewrap(ctx, id); err != nil && !k.cfg.AllowMissing {
			return err
		}
	}
	return nil
}

func (k *Keyring) newestID() uint64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.newest
}

// rewrap wraps a data key anew; objects that it seals stay as they are.
func (k *Keyring) rewrap(ctx context.Context, id uint64) error {
	o, err := k.store.Get(ctx, recordKey(id))
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	r, err := parseRecord(o.Data)
	if err != nil {
		return fmt.Errorf("data key %d: %w", id, err)
	}
	key, err := k.plainKey(ctx, &r)
	if err != nil {
		return fmt.Errorf("data key %d can't be wrapped anew: %w", id, err)
	}
	if err := k.wrap(ctx, &r, key); err != nil {
		return err
	}
	w, err := r.write(id, store.Expectation(o.Revision))
	if err != nil {
		return err
	}
	if _, err = k.store.Write(ctx, w); errors.Is(err, store.ErrConflict) {
		return k.rewrap(ctx, id) // A server has taken seals meanwhile.
	}
	return err
}

// Rotate makes a new data key, with which the leader seals everything again. It may be called on
// any server.
func (k *Keyring) Rotate(ctx context.Context) error {
	if !k.cfg.Resources.Any() {
		return errors.New("store.encryption.resources is empty: nothing is encrypted")
	}
	before := k.newestID()
	for k.newestID() == before {
		if err := k.create(ctx, true); err != nil {
			return err
		}
	}
	return nil
}

// oldest is the oldest data key whose objects are left as they are.
func (k *Keyring) oldest() uint64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	var floor uint64
	for id, d := range k.keys {
		if d.Replaces {
			floor = max(floor, id)
		}
	}
	return floor
}

// wrong reports whether an object is not kept as it should be.
func (k *Keyring) wrong(key store.Key, envelope []byte, floor uint64) bool {
	if !k.cfg.Resources.Has(bucketOf(key)) {
		return envelope != nil
	}
	id, _, err := envelopeKey(envelope)
	return envelope == nil || err != nil || id < floor
}

// rewritesAtOnce bounds the list of objects that are about to be written again.
const rewritesAtOnce = 10_000

var errEnough = errors.New("enough for now")

type place struct {
	key      store.Key
	revision uint64
}

// rewriteAll writes all objects again that are not kept as they should be, at a bounded rate. It
// begins anew where it was interrupted: what was done is no longer wrong.
func (k *Keyring) rewriteAll(ctx context.Context) error {
	total, failed := 0, map[store.Key]bool{}
	var firstErr error
	for {
		floor := k.oldest()
		var found []place
		err := k.store.Forms(ctx, false, func(key store.Key, revision uint64, envelope []byte) error {
			if k.wrong(key, envelope, floor) && !failed[key] {
				if found = append(found, place{key, revision}); len(found) == rewritesAtOnce {
					return errEnough
				}
			}
			return nil
		})
		if err != nil && !errors.Is(err, errEnough) {
			return err
		}
		if len(found) == 0 {
			break
		}
		if total == 0 {
			k.log.Info("Writing objects again that are not encrypted as they should be", "first", found[0].key)
		}
		for _, p := range found {
			switch err := k.store.Rewrite(ctx, p.key, p.revision); {
			case err == nil:
				total++
			case errors.Is(err, store.ErrConflict), errors.Is(err, store.ErrNotFound), errors.Is(err, store.ErrCompacted):
				// It was written or deleted meanwhile.
			case errors.Is(err, store.ErrSealed):
				failed[p.key] = true
				if firstErr == nil {
					firstErr = err
				}
			default:
				return err
			}
			select {
			case <-time.After(time.Second / time.Duration(k.cfg.Rate)):
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
	if total > 0 {
		k.log.Info("All objects are encrypted as they should be", "written", total, "unreadable", len(failed))
	}
	if firstErr != nil {
		k.log.Error("Objects can't be decrypted and stay as they are", "objects", len(failed), "first", firstErr)
	}
	return nil
}

// forgetUnused deletes data keys that nothing on the disk has been sealed with for a while.
func (k *Keyring) forgetUnused(ctx context.Context, unused map[uint64]time.Time) error {
	ids, newest := k.ids(), k.newestID()
	if !k.cfg.Resources.Any() {
		newest = 0 // Nothing is sealed any more.
	}
	if len(ids) == 0 || len(ids) == 1 && ids[0] == newest {
		return nil
	}
	used := map[uint64]bool{}
	err := k.store.Forms(ctx, true, func(_ store.Key, _ uint64, envelope []byte) error {
		if envelope == nil {
			return nil
		}
		id, _, err := envelopeKey(envelope)
		used[id] = err == nil
		return nil
	})
	if err != nil {
		return err
	}
	for _, id := range ids {
		since, known := unused[id]
		switch {
		case used[id] || id == newest:
			delete(unused, id)
			continue
		case !known:
			unused[id] = time.Now()
			continue
		case time.Since(since) < k.cfg.ForgetAfter:
			continue
		}
		w := store.Write{Key: recordKey(id), RevisionAt: -1, Delete: true, Expect: store.Any}
		if _, err := k.store.Write(ctx, w); err != nil && !errors.Is(err, store.ErrNotFound) {
			return fmt.Errorf("deleting data key %d: %w", id, err)
		}
		delete(unused, id)
		k.log.Info("A data key with which nothing is encrypted any more was deleted", "dataKey", id)
	}
	return nil
}
