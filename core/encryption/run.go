package encryption

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/pintle-dev/pintle/core/internal/filewatch"
)

// Run keeps things in line until ctx ends: it reads the key file where it changes, asks the key
// manager how it is, unwraps data keys that could not be before, and on the leader makes the
// state be sealed as it should be.
func (k *Keyring) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	if k.cfg.KeyFile != "" {
		group.Go(func() error { return k.followFile(ctx) })
	}
	group.Go(func() error { return k.followManager(ctx) })
	group.Go(func() error { return k.lead(ctx) })
	return group.Wait()
}

// Pauses between tries, which double from the first to the last.
const (
	firstPause = time.Second
	lastPause  = 30 * time.Second
)

// followManager asks the wrapper how it is, and unwraps what is missing.
func (k *Keyring) followManager(ctx context.Context) error {
	wait, failing := k.cfg.Poll, false
	for {
		woken := k.woken()
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-woken:
		case <-timer.C:
		}
		timer.Stop()
		err := k.unwrapAll(ctx)
		if k.cfg.AllowMissing {
			err = nil // It was said at the start, and Status says it.
		}
		err = errors.Join(err, k.ask(ctx))
		switch {
		case ctx.Err() != nil:
			return nil //nolint:nilerr // told to end
		case err == nil:
			if failing {
				k.log.Info("All data keys can be used again")
			}
			wait, failing = k.cfg.Poll, false
		default:
			if !failing {
				k.log.Error("Data keys are missing, or no new ones can be had; what is in memory is served", "error", err)
				wait = firstPause
			} else {
				wait = min(2*wait, lastPause)
			}
			failing = true
			// What was learned meanwhile is looked at soon enough.
			select {
			case <-time.After(min(wait, firstPause)):
			case <-ctx.Done():
				return nil
			}
		}
	}
}

// Ready says what is missing: a data key that can't be unwrapped here, or the key manager.
func (k *Keyring) Ready(context.Context) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	for id, d := range k.keys {
		if d.aead == nil && !k.cfg.AllowMissing {
			return fmt.Errorf("data key %d can't be unwrapped: %w", id, d.why)
		}
	}
	if k.health != nil {
		return k.health
	}
	return nil
}

// followFile takes the key file whenever it is another.
func (k *Keyring) followFile(ctx context.Context) error {
	file, first := k.cfg.KeyFile, true
	return filewatch.Follow(ctx, file, nil, k.log, func([]byte) {
		switch err := k.reload(ctx); {
		case err != nil:
			k.log.Error("The file of keys is no good; the keys that it had before are used", "file", file, "error", err)
		case !first:
			k.log.Info("The file of keys has changed and is in use", "file", file)
		}
		first = false
	})
}

// reload takes the file as it is now, unless data keys that could be unwrapped no longer can.
func (k *Keyring) reload(ctx context.Context) error {
	f, err := ReadKeyFile(k.cfg.KeyFile)
	if err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for id, d := range k.keys {
		if d.WrappedBy != byFile || d.aead == nil {
			continue
		}
		if _, err := f.Unwrap(ctx, d.wrapped()); err != nil {
			return fmt.Errorf("data key %d could no longer be unwrapped: %w", id, err)
		}
	}
	k.file.Store(f)
	k.wakeLocked()
	return nil
}
