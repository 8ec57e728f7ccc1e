package backup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"filippo.io/age"

	"github.com/pintle-dev/pintle/core/store"
)

// Revisions never go back: clients compare them. A restored cluster begins where the old one
// cannot have come: so many revisions after the backup, and so many more for each second since
// it was made, which is more than a cluster can write.
const (
	RaiseAtLeast   = 1_000_000_000
	RaisePerSecond = 100_000
)

// Raise is by how much a backup's revision is raised at the time now.
func Raise(created, now time.Time) uint64 {
	age := now.Sub(created)
	if age < 0 {
		age = 0 // A clock is wrong; the least must do.
	}
	return RaiseAtLeast + uint64(age/time.Second)*RaisePerSecond
}

// Into says where a backup is restored to.
type Into struct {
	// Dir is the data directory; it must be empty or missing.
	Dir string
	// Store is the store's directory in it, Keys the one of the cluster's keys.
	Store, Keys string
	// Marker is a file in Dir that is there as long as the directory is not complete. A server
	// must not start on it.
	Marker string
	// Raise of the revision.
	Raise uint64
	// WithoutKeys leaves the keys of the backup out.
	WithoutKeys bool
	Logger      *slog.Logger
}

// Restored is what Restore has made.
type Restored struct {
	store.Restored
	Summary Summary
	// Keys that were restored, as paths in the data directory.
	Keys []string
}

// Restore makes a data directory of a backup, offline. A directory that an interrupted restore
// has left is begun anew.
func Restore(ctx context.Context, r *Reader, to Into, identities ...age.Identity) (out Restored, err error) {
	if err := to.begin(); err != nil {
		return out, err
	}
	// What is there at the end of a failure is of no use, and nobody else's.
	defer func() {
		if err != nil {
			err = errors.Join(err, to.clear())
		}
	}()
	keys, state, err := r.Content(identities...)
	if err != nil {
		return out, err
	}
	if !to.WithoutKeys {
		for _, f := range keys {
			if err := to.writeKey(f); err != nil {
				return out, err
			}
			out.Keys = append(out.Keys, f.Path)
		}
	}
	restored, storeErr := store.Restore(ctx, to.Store, state, to.Raise, to.Logger)
	if errors.Is(storeErr, context.Canceled) {
		return out, storeErr
	}
	// What the frames say of damage is better than what the store met.
	if out.Summary, err = r.Finish(); err != nil {
		return out, err
	}
	if storeErr != nil {
		return out, storeErr
	}
	out.Restored = restored
	if restored.Revision != r.Header().Revision {
		return out, fmt.Errorf("the backup is damaged: its state is at revision %d and its header says %d", restored.Revision, r.Header().Revision)
	}
	if err := syncTree(to.Dir); err != nil {
		return out, fmt.Errorf("restore: %w", err)
	}
	if err := os.Remove(to.Marker); err != nil {
		return out, fmt.Errorf("restore: %w", err)
	}
	return out, syncDir(to.Dir)
}

// lostAndFound is in every new file system that is mounted for a data directory.
const lostAndFound = "lost+found"

// begin takes the directory.
func (to Into) begin() error {
	entries, err := os.ReadDir(to.Dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("restore: %w", err)
	}
	if _, err := os.Lstat(to.Marker); err == nil {
		if err := to.clear(); err != nil {
			return fmt.Errorf("restore: clearing what an interrupted restore has left: %w", err)
		}
		entries = nil
	}
	entries = slices.DeleteFunc(entries, func(e fs.DirEntry) bool { return e.Name() == lostAndFound })
	if len(entries) > 0 {
		return fmt.Errorf("restore: %s is not empty (it has %s): restore into a new directory, or move the old content away", to.Dir, entries[0].Name())
	}
	if err := os.MkdirAll(to.Dir, 0o700); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	text := "A backup is being restored into this directory. Should that have ended without success, restore it again.\n"
	if err := os.WriteFile(to.Marker, []byte(text), 0o600); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	return syncDir(to.Dir)
}

// clear removes all but the marker, and then that.
func (to Into) clear() error {
	entries, err := os.ReadDir(to.Dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if path := filepath.Join(to.Dir, e.Name()); path != to.Marker && e.Name() != lostAndFound {
			if err := os.RemoveAll(path); err != nil {
				return err
			}
		}
	}
	return os.Remove(to.Marker)
}

func (to Into) writeKey(f File) error {
	local, err := filepath.Localize(f.Path)
	path := filepath.Join(to.Dir, local)
	if err != nil || !strings.HasPrefix(path, to.Keys+string(filepath.Separator)) {
		return fmt.Errorf("restore: the backup has a key at %q, where none belongs", f.Path)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	out, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	_, err = out.Write(f.Data)
	if err := errors.Join(err, out.Close()); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	return nil
}

// syncTree makes files and names durable.
func syncTree(dir string) error {
	return filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.IsDir() && !e.Type().IsRegular() {
			return err
		}
		return syncDir(path)
	})
}

func syncDir(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
