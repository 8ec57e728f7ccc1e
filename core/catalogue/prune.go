package catalogue

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"
)

// grace is how long what was just used is kept in any case: another process may be about to
// start it.
const grace = time.Hour

// limits of a cache.
type limits struct {
	bytes int64
	age   time.Duration
	now   time.Time
	// inUse are binaries that are kept whatever their age: those that run, and those that a
	// rollback would run.
	inUse map[digest.Digest]bool
}

type entry struct {
	key  digest.Digest
	held held
	used time.Time
}

// prune removes artifacts that are too old, and the oldest where all together are too large, and
// then what belongs to none. Where somebody is fetching at this moment it does nothing.
func (c *cache) prune(l limits) (removed int, err error) {
	f, err := os.OpenFile(filepath.Join(c.dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return 0, fmt.Errorf("cache of plugins: %w", err)
	}
	defer f.Close()
	if err := flock(f, unix.LOCK_EX|unix.LOCK_NB); err != nil {
		if errors.Is(err, unix.EWOULDBLOCK) {
			return 0, nil
		}
		return 0, fmt.Errorf("cache of plugins: lock: %w", err)
	}
	entries, err := c.entries()
	if err != nil {
		return 0, err
	}
	blobs, binaries, repositories := map[string]bool{}, map[string]bool{}, map[string]bool{}
	var total int64
	var errs []error
	for _, e := range entries {
		age := l.now.Sub(e.used)
		if !l.inUse[e.held.Binary] && age > grace && (age > l.age || total+e.held.Size > l.bytes) {
			errs = append(errs, ignoreMissing(os.Remove(c.artifactPath(e.key))))
			removed++
			continue
		}
		if !binaries[e.held.Binary.Encoded()] {
			total += e.held.Size
		}
		binaries[e.held.Binary.Encoded()] = true
		for _, b := range e.held.Blobs {
			blobs[b.Encoded()] = true
		}
		if e.held.Repository != "" {
			repositories[digest.FromString(e.held.Repository).Encoded()+".json"] = true
		}
	}
	for d := range l.inUse {
		binaries[d.Encoded()] = true
	}
	for _, s := range []struct {
		sub   string
		keep  map[string]bool
		grace time.Duration
	}{
		{"binaries", binaries, grace},
		{"blobs", blobs, grace},
		{"repositories", repositories, grace},
		// Whoever writes there holds the lock, so these are left from a process that died.
		{"tmp", nil, 0},
	} {
		errs = append(errs, sweep(filepath.Join(c.dir, s.sub), s.keep, l.now.Add(-s.grace)))
	}
	return removed, errors.Join(errs...)
}

// entries lists artifacts, those used last first.
func (c *cache) entries() ([]entry, error) {
	files, err := os.ReadDir(filepath.Join(c.dir, "artifacts"))
	if err != nil {
		return nil, ignoreMissing(err)
	}
	var out []entry
	for _, file := range files {
		path := filepath.Join(c.dir, "artifacts", file.Name())
		st, err := file.Info()
		if err != nil {
			continue
		}
		e := entry{key: digestOf(strings.TrimSuffix(file.Name(), ".json")), used: st.ModTime()}
		if e.key.Validate() != nil || readJSON(path, &e.held) != nil || e.held.Binary.Validate() != nil {
			// It can't be told what it is: what it kept is fetched again when it is wanted.
			if err := ignoreMissing(os.Remove(path)); err != nil {
				return nil, fmt.Errorf("cache of plugins: %w", err)
			}
			continue
		}
		out = append(out, e)
	}
	slices.SortFunc(out, func(a, b entry) int { return b.used.Compare(a.used) })
	return out, nil
}

// sweep removes the files of a directory that are not kept and were last written before a time.
func sweep(dir string, keep map[string]bool, before time.Time) error {
	files, err := os.ReadDir(dir)
	if err != nil {
		return ignoreMissing(err)
	}
	var errs []error
	for _, file := range files {
		st, err := file.Info()
		if err != nil || keep[file.Name()] || st.ModTime().After(before) {
			continue
		}
		errs = append(errs, ignoreMissing(os.Remove(filepath.Join(dir, file.Name()))))
	}
	return errors.Join(errs...)
}
