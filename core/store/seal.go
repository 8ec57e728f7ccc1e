package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/pintle-dev/pintle/core/store/internal/command"
	"github.com/pintle-dev/pintle/core/store/internal/engine"
	"github.com/pintle-dev/pintle/core/store/internal/fsm"
	"github.com/pintle-dev/pintle/core/store/internal/index"
	"github.com/pintle-dev/pintle/core/store/internal/value"
)

// KeyBucket is where a Sealer's own records are: the keys that objects are sealed with, wrapped.
// No resource type can have such a name, so no API serves it. Its objects are never sealed.
const KeyBucket = "~datakeys"

// Sealer encrypts objects on their way into the log. What it makes is what the log, the disk,
// snapshots, other servers and backups get; what clients and watchers see, and what is held in
// memory, is open. Its methods are called from any goroutine.
type Sealer interface {
	// Seals reports whether objects of a bucket are to be sealed when they are written.
	Seals(bucket string) bool
	// Seal encrypts an object's bytes, without its revision, which belongs at offset at. What
	// it returns, longer than data, opens for the same key and offset only. It may wait for a
	// key until ctx ends.
	Seal(ctx context.Context, key Key, at int, data []byte) (envelope []byte, err error)
	// Open is the inverse of Seal. It must not block; where a key is missing it fails.
	Open(key Key, at int, envelope []byte) ([]byte, error)
	// Learn is called with the objects of KeyBucket: at a start, then with each that has
	// changed, record being nil of one that was deleted. It must not block.
	Learn(key Key, record []byte)
	// Loaded is called at a start, when Learn has been called with all that are there and
	// before anything else is read. An error keeps the store from opening.
	Loaded(ctx context.Context) error
}

// commandOf makes what goes into the log of a write.
func (s *Store) commandOf(ctx context.Context, w *Write) (command.Write, error) {
	c := command.Write{Key: string(w.Key), Data: w.Data, RevisionAt: w.RevisionAt, Delete: w.Delete,
		Expect: int64(w.Expect), Check: w.Check, Note: w.Note}
	if s.cfg.Sealer == nil || w.Data == nil || !s.cfg.Sealer.Seals(index.Bucket(c.Key)) {
		return c, nil
	}
	var err error
	if c.Data, err = s.cfg.Sealer.Seal(ctx, w.Key, max(w.RevisionAt, -1), w.Data); err != nil {
		return c, fmt.Errorf("encrypting it: %w", err)
	}
	c.Sealed = true
	return c, nil
}

// loadKeys tells the sealer of all keys, before anything sealed is read.
func (s *Store) loadKeys(ctx context.Context) error {
	if s.cfg.Sealer == nil {
		return nil
	}
	s.engine.SetOpener(func(key string, at int, envelope []byte) ([]byte, error) {
		return s.cfg.Sealer.Open(Key(key), at, envelope)
	})
	if err := s.learnAll(ctx); err != nil {
		return err
	}
	return s.cfg.Sealer.Loaded(ctx)
}

// learnAll tells the sealer of the keys on disk: the newest, which may be ahead of the rest of
// the state as that of an object may be that was sealed with them.
func (s *Store) learnAll(ctx context.Context) error {
	return s.engine.Scan(ctx, KeyBucket+"/", "", ^uint64(0),
		func(key string, _ uint64, load func() (value.Value, error)) (bool, error) {
			v, err := load()
			if err != nil {
				return false, err
			}
			s.cfg.Sealer.Learn(Key(key), v.Data())
			return true, nil
		})
}

// relearn is learnAll after the state was replaced, where nothing can be refused any more.
func (s *Store) relearn() {
	if s.cfg.Sealer == nil {
		err := s.engine.Scan(context.Background(), KeyBucket+"/", "", ^uint64(0),
			func(string, uint64, func() (value.Value, error)) (bool, error) {
				s.sayKeyless()
				return false, nil
			})
		if err != nil {
			s.log.Error("Looking for the keys of encrypted objects failed", "error", err)
		}
		return
	}
	if err := s.learnAll(context.Background()); err != nil {
		s.log.Error("Reading the keys of encrypted objects failed: they can't be read", "error", err)
	}
}

// learn tells the sealer of keys that have changed.
func (s *Store) learn(changes []fsm.Change) {
	for i := range changes {
		c := &changes[i]
		if c.Key[0] != KeyBucket[0] || !strings.HasPrefix(c.Key, KeyBucket+"/") {
			continue
		}
		if s.cfg.Sealer == nil {
			s.sayKeyless()
			continue
		}
		var record []byte
		if c.New != nil {
			record = c.Value.Data()
		}
		s.cfg.Sealer.Learn(Key(c.Key), record)
	}
}

// sayKeyless says once that keys are missing.
func (s *Store) sayKeyless() {
	if !s.keyless.Swap(true) {
		s.log.Error("This server was given no keys: " + errKeyless.Error())
	}
}

var errKeyless = errors.New("other servers of the cluster encrypt objects, which can't be read here, and this one will not start again without keys: give it the configuration of the others (store.encryption)")

// KeysReady fails where other servers seal objects and this one has no Sealer.
func (s *Store) KeysReady(context.Context) error {
	if s.keyless.Load() {
		return errKeyless
	}
	return nil
}

// Rewrite writes an object, where it still is at revision, again as it is, so that it is kept
// sealed or open as the Sealer wants it now. It gets a new revision; ErrConflict and ErrNotFound
// say that there is nothing to do any more.
func (s *Store) Rewrite(ctx context.Context, key Key, revision uint64) error {
	v, err := s.engine.Load(string(key), revision)
	if err != nil {
		return fmt.Errorf("rewriting %s: %w", key, s.readError(err))
	}
	data, at := v.Parts(revision)
	if _, err := s.Write(ctx, Write{Key: key, Data: data, RevisionAt: at, Expect: Expectation(revision)}); err != nil {
		return err
	}
	return nil
}

// Forms calls fn with every object as it is kept here: envelope is what Seal has returned,
// valid until fn returns, or nil where the object is not sealed. With history all versions on
// the disk follow, the newest of an object first. Nothing is opened, and nobody waits for it.
func (s *Store) Forms(ctx context.Context, history bool, fn func(key Key, revision uint64, envelope []byte) error) error {
	if s.isClosed() {
		return ErrClosed
	}
	err := s.engine.Forms(ctx, !history, func(key string, version uint64, envelope []byte) error {
		return fn(Key(key), version, envelope)
	})
	if err != nil {
		return fmt.Errorf("looking at what is stored: %w", s.readError(err))
	}
	return nil
}

// unopened counts the objects that a start could not open.
type unopened struct {
	n     int
	first error
}

func (u *unopened) add(n *engine.Newest, err error) {
	if u.n++; u.first == nil {
		u.first = fmt.Errorf("%s at revision %d: %w", n.Key, n.Revision, err)
	}
}

func (u *unopened) report(log *slog.Logger) {
	if u.n > 0 {
		log.Error("Encrypted objects can't be decrypted; reading them fails until they can", "objects", u.n, "first", u.first)
	}
}
