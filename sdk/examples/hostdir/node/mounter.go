package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"
	rbacv1 "k8s.io/api/rbac/v1"

	"example.dev/hostdir/internal/handle"
	"github.com/pintle-dev/pintle/sdk/plugin"
	"github.com/pintle-dev/pintle/sdk/storage"
)

// mounter mounts directories below a root of its node.
type mounter struct {
	settings settings
	node     string
	// root is what all directories are below. Nothing is done outside of it, whatever containers
	// have written there.
	root *os.Root

	mu sync.Mutex // one mounts at a time
}

// settings of the plugin.
type settings struct {
	// Root is the directory of the node below which volumes are; by default it is in the plugin's
	// own. The plugin's entry must give another to it, to read and write.
	Root string `json:"root,omitempty"`
}

// Info says who the plugin is and which permissions it asks for.
func (*mounter) Info() plugin.Info {
	return plugin.Info{
		Name: "hostdir-node", Version: "0.1.0", Description: "Mounts the volumes of hostdir",
		Permissions: []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"persistentvolumes"}, Verbs: []string{"list", "watch", "patch"}}},
	}
}

// ConfigSchema is the structural schema of the settings.
func (*mounter) ConfigSchema() []byte {
	return []byte(`{"type":"object","properties":{"root":{"type":"string","description":"Directory of the node below which volumes are."}}}`)
}

// Configure takes the settings.
func (m *mounter) Configure(_ context.Context, raw []byte) error {
	var s settings
	if err := plugin.DecodeSettings(raw, &s); err != nil {
		return err
	}
	if s.Root != "" && !filepath.IsAbs(s.Root) {
		return fmt.Errorf("settings.root: must be an absolute path, is %q", s.Root)
	}
	m.settings = s
	return nil
}

// Open is called by the host before all else.
func (m *mounter) Open(ctx context.Context, env plugin.Env) (storage.Services, error) {
	path := m.settings.Root
	if path == "" {
		path = filepath.Join(env.Dir, "volumes")
	}
	if err := os.MkdirAll(path, 0o711); err != nil {
		return storage.Services{}, fmt.Errorf("settings.root: %w", err)
	}
	root, err := os.OpenRoot(path)
	if err != nil {
		return storage.Services{}, fmt.Errorf("settings.root: %w", err)
	}
	m.root, m.node = root, env.Node
	if err := m.followRemovals(ctx, env); err != nil {
		return storage.Services{}, errors.Join(err, root.Close())
	}
	return storage.Services{Driver: handle.Driver, TopologyKeys: []string{handle.TopologyKey}, Mounter: m, StatsReader: m}, nil
}

// name returns the name of a directory of this node.
func (m *mounter) name(volume string) (string, error) {
	node, name, err := handle.Parse(volume)
	if err != nil {
		return "", fmt.Errorf("%w: %w", storage.ErrNotFound, err)
	}
	if m.node != "" && node != m.node {
		return "", fmt.Errorf("%w: %s is on node %s, and this is %s", storage.ErrNotFound, name, node, m.node)
	}
	return name, nil
}

// MountVolume implements storage.Mounter.
func (m *mounter) MountVolume(_ context.Context, r storage.MountVolumeRequest) error {
	name, err := m.name(r.Handle)
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.root.Mkdir(name, 0o777); err == nil {
		err = m.root.Chmod(name, 0o777) // whoever the container runs as may write
		if err != nil {
			return fmt.Errorf("directory of the volume: %w", err)
		}
	} else if !errors.Is(err, os.ErrExist) {
		return fmt.Errorf("directory of the volume: %w", err)
	}
	dir, err := m.root.Open(name)
	if err != nil {
		return fmt.Errorf("directory of the volume: %w", err)
	}
	defer dir.Close()
	there, err := mounted(dir, r.TargetPath)
	if there || err != nil {
		return err
	}
	return bind(dir, r.TargetPath, r.ReadOnly)
}

// mounted reports whether a directory is seen at target.
func mounted(dir *os.File, target string) (bool, error) {
	a, err := dir.Stat()
	if err != nil {
		return false, err
	}
	b, err := os.Stat(target)
	if err != nil {
		return false, fmt.Errorf("target path: %w", err)
	}
	return os.SameFile(a, b), nil
}

// bind mounts a directory at target. That it is for reading is said before it is there, as the
// node gets a copy of the mount as it is at that moment.
func bind(dir *os.File, target string, readOnly bool) error {
	tree, err := unix.OpenTree(int(dir.Fd()), "", unix.AT_EMPTY_PATH|unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return fmt.Errorf("mount at %s: %w", target, err)
	}
	defer func() { _ = unix.Close(tree) }()
	attr := &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV}
	if readOnly {
		attr.Attr_set |= unix.MOUNT_ATTR_RDONLY
	}
	if err := unix.MountSetattr(tree, "", unix.AT_EMPTY_PATH, attr); err != nil {
		return fmt.Errorf("mount at %s: %w", target, err)
	}
	if err := unix.MoveMount(tree, "", unix.AT_FDCWD, target, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fmt.Errorf("mount at %s: %w", target, err)
	}
	return nil
}

// UnmountVolume implements storage.Mounter.
func (m *mounter) UnmountVolume(_ context.Context, _, target string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for {
		switch err := unix.Unmount(target, unix.UMOUNT_NOFOLLOW); {
		case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOENT): // nothing is mounted there any more
			return nil
		case err != nil:
			return fmt.Errorf("unmount %s: %w", target, err)
		}
	}
}

// VolumeStats implements storage.StatsReader: a directory has what its file system has.
func (m *mounter) VolumeStats(_ context.Context, volume, _ string) (storage.Stats, error) {
	name, err := m.name(volume)
	if err != nil {
		return storage.Stats{}, err
	}
	dir, err := m.root.Open(name)
	if err != nil {
		return storage.Stats{}, fmt.Errorf("%w: %w", storage.ErrNotFound, err)
	}
	defer dir.Close()
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(dir.Fd()), &st); err != nil {
		return storage.Stats{}, fmt.Errorf("volume %s: %w", name, err)
	}
	size := st.Bsize
	return storage.Stats{
		CapacityBytes: int64(st.Blocks) * size, UsedBytes: int64(st.Blocks-st.Bfree) * size, AvailableBytes: int64(st.Bavail) * size,
		Inodes: int64(st.Files), InodesUsed: int64(st.Files - st.Ffree), InodesFree: int64(st.Ffree),
	}, nil
}
