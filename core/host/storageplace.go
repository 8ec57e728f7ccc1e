package host

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/pintle-dev/pintle/core/host/confine"
	"github.com/pintle-dev/pintle/sdk/protocol"
	"github.com/pintle-dev/pintle/sdk/storage"
)

// ErrNoStorage says that no plugin of a host is a storage, nor may still turn out to be it.
var ErrNoStorage = errors.New("no plugin is that storage")

// noStorage is ErrNoStorage in the words of another error.
type noStorage struct{ error }

// Is implements the interface of errors.Is.
func (noStorage) Is(target error) bool { return target == ErrNoStorage }

// NodeStorage is Storage for the agent of a node: it also returns the plugin's private directory,
// in which a guest can be given places to mount at, as it sees no other. Its error is ErrNoStorage
// where there will be none unless a plugin is added.
func (h *Host) NodeStorage(driver string) (services storage.Services, dir string, err error) {
	if services, err = h.Storage(driver); err != nil && !h.mayBe(driver) {
		return services, "", noStorage{err}
	}
	if err != nil {
		return services, "", err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for name, s := range h.plugins {
		if holder, ok := s.holders[protocol.PointStorage].(*storageHolder); ok {
			if now, _ := holder.is(); now.Driver == driver {
				return services, filepath.Join(h.config.Dir, "plugins", name), nil
			}
		}
	}
	return services, "", fmt.Errorf("storage %s: its plugin has just ended", driver)
}

// mayBe reports whether a plugin is the named storage and away, or may be it when it has started.
func (h *Host) mayBe(driver string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.running {
		return true
	}
	for _, s := range h.plugins {
		holder, ok := s.holders[protocol.PointStorage].(*storageHolder)
		if !ok {
			continue
		}
		now, last := holder.is()
		health := s.snapshot().Health
		if last == driver || now.Driver == "" && last == "" && health != HealthHealthy && health != HealthDisabled && health != HealthStandby {
			return true
		}
	}
	return false
}

// mountsDir is where, in its own directory, a plugin mounts what its machine is to see. Agents
// give storages places in it.
const mountsDir = "mounts"

// givePlaces gives a guest that may mount for its machine a place of its own for that.
func givePlaces(g *confine.Guest, dir string) error {
	if !g.Propagate {
		return nil
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("directory for mounts: %w", err)
	}
	defer func() { _ = root.Close() }()
	switch err := root.Mkdir(mountsDir, 0o700); {
	case errors.Is(err, fs.ErrExist):
		// An earlier life of the plugin has had it: it may be anything now.
		if st, err := root.Lstat(mountsDir); err != nil || !st.IsDir() {
			return errors.Join(err, fmt.Errorf("directory for mounts: %s is no directory: remove it", filepath.Join(dir, mountsDir)))
		}
	case err != nil:
		return fmt.Errorf("directory for mounts: %w", err)
	default:
		st, err := root.Stat(".")
		if err != nil {
			return fmt.Errorf("directory for mounts: %w", err)
		}
		if owner, ok := st.Sys().(*syscall.Stat_t); ok {
			if err := root.Lchown(mountsDir, int(owner.Uid), int(owner.Gid)); err != nil {
				return fmt.Errorf("directory for mounts: %w", err)
			}
		}
	}
	g.Given = append(g.Given, confine.Given{Path: filepath.Join(dir, mountsDir), Write: true})
	return nil
}
