package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/pintle-dev/pintle/sdk/storage"
)

// MountVolume implements storage.Mounter.
func (v *volumes) MountVolume(_ context.Context, r storage.MountVolumeRequest) error {
	if _, err := v.capacity(r.Handle); err != nil {
		return err
	}
	data, err := v.root.Open(filepath.Join(r.Handle, dataDir))
	if err != nil {
		return fmt.Errorf("volume %s: %w", r.Handle, err)
	}
	defer data.Close()
	have, err := data.Stat()
	if err != nil {
		return fmt.Errorf("volume %s: %w", r.Handle, err)
	}
	target, err := os.Stat(r.TargetPath)
	if err != nil {
		return fmt.Errorf("volume %s: %w", r.Handle, err)
	}
	if os.SameFile(have, target) {
		return nil // it is mounted there already
	}
	if err := bind(data, r.TargetPath, r.ReadOnly); err != nil {
		return fmt.Errorf("mount volume %s at %s: %w", r.Handle, r.TargetPath, err)
	}
	return nil
}

// bind mounts a directory. That it is for reading is said before it is there, as the node gets a
// copy of the mount as it is at that moment.
func bind(dir *os.File, target string, readOnly bool) error {
	tree, err := unix.OpenTree(int(dir.Fd()), "", unix.AT_EMPTY_PATH|unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(tree) }()
	attr := &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV}
	if readOnly {
		attr.Attr_set |= unix.MOUNT_ATTR_RDONLY
	}
	if err := unix.MountSetattr(tree, "", unix.AT_EMPTY_PATH, attr); err != nil {
		return err
	}
	return unix.MoveMount(tree, "", unix.AT_FDCWD, target, unix.MOVE_MOUNT_F_EMPTY_PATH)
}

// UnmountVolume implements storage.Mounter.
func (*volumes) UnmountVolume(_ context.Context, handle, target string) error {
	for {
		switch err := unix.Unmount(target, unix.UMOUNT_NOFOLLOW); {
		case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOENT): // nothing is mounted there any more
			return nil
		case err != nil:
			return fmt.Errorf("unmount volume %s from %s: %w", handle, target, err)
		}
	}
}

// VolumeStats implements storage.StatsReader.
func (v *volumes) VolumeStats(_ context.Context, handle, target string) (storage.Stats, error) {
	capacity, err := v.capacity(handle)
	if err != nil {
		return storage.Stats{}, err
	}
	var st unix.Statfs_t
	if err := unix.Statfs(target, &st); err != nil {
		return storage.Stats{}, fmt.Errorf("volume %s: %w", handle, err)
	}
	block := st.Bsize
	return storage.Stats{
		CapacityBytes: capacity, UsedBytes: int64(st.Blocks-st.Bfree) * block, AvailableBytes: int64(st.Bavail) * block,
		Inodes: int64(st.Files), InodesUsed: int64(st.Files - st.Ffree), InodesFree: int64(st.Ffree),
	}, nil
}
