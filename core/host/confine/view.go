package confine

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// temporary are the directories that each guest has for itself; private are those in which
// people keep what is theirs.
var (
	temporary = []string{"/tmp", "/var/tmp", "/dev/shm"}
	private   = []string{"/root", "/home", "/run/user"}
)

// emptySize bounds the file system of a hidden directory, in bytes; temporaryShare is what
// share of the guest's memory, or the machine's where that is not limited, that a temporary
// one may take.
const (
	emptySize      = "1m"
	temporaryShare = 4
)

// temporaryOptions bound a temporary directory, whose content is memory of the guest: a full
// one is an error of a write, not the end of the guest.
func temporaryOptions(memory int64) string {
	if memory <= 0 {
		return fmt.Sprintf("mode=1777,size=%d%%", 100/temporaryShare)
	}
	size := max(memory/temporaryShare, 1<<20)
	return fmt.Sprintf("mode=1777,size=%d,nr_inodes=%d", size, size/entryBytes)
}

// need is something that a guest must see at its own path.
type need struct {
	path string
	dir  bool
	tree int // the mount to attach there
}

// newView gives the calling thread a view of the file system in which nothing can be written
// but what is the guest's own, and of the hidden directories only what it needs is there.
func newView(g Guest, user uint32, hide []string) error {
	if err := unix.Unshare(unix.CLONE_NEWNS | unix.CLONE_FS); err != nil {
		return fmt.Errorf("namespace: %w", err)
	}
	unix.Umask(0o022)
	var needs []need
	defer func() {
		for _, n := range needs {
			_ = unix.Close(n.tree)
		}
	}()
	take := func(from func() ([]need, error)) error {
		more, err := from()
		needs = append(needs, more...)
		return err
	}
	separate := func() error {
		if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
			return fmt.Errorf("make mounts private: %w", err)
		}
		return nil
	}
	given := func() error { return take(func() ([]need, error) { return takeGiven(&g, user) }) }
	steps := []func() error{separate, given}
	if g.Propagate {
		steps = []func() error{given, separate} // while it still propagates
	}
	for _, step := range append(steps, func() error { return take(func() ([]need, error) { return takeTrees(g) }) }) {
		if err := step(); err != nil {
			return err
		}
	}
	// What contains others comes first.
	slices.SortStableFunc(needs, func(a, b need) int { return strings.Compare(a.path, b.path) })
	all := &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID}
	if err := unix.MountSetattr(unix.AT_FDCWD, "/", unix.AT_RECURSIVE, all); err != nil {
		return fmt.Errorf("make the file system read-only: %w", err)
	}
	// Of other processes it sees nothing. The mount is that of the host's processes, until
	// the guest is there and has its own (ownProc).
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "hidepid=2"); err != nil {
		return fmt.Errorf("proc: %w", err)
	}
	for _, dir := range temporary {
		if err := mask(dir, temporaryOptions(g.Limits.MemoryBytes)); err != nil {
			return err
		}
	}
	var masks []string
	for _, dir := range slices.Concat(private, hide) {
		if resolved, err := filepath.EvalSymlinks(dir); err == nil {
			dir = resolved
		}
		if under(dir, temporary) || under(dir, masks) {
			continue
		}
		if err := mask(dir, "mode=755,size="+emptySize); err != nil {
			return err
		}
		masks = append(masks, dir)
	}
	for _, n := range needs {
		var err error
		if masks, err = attach(n, user, masks); err != nil {
			return err
		}
	}
	for _, dir := range masks {
		err := unix.MountSetattr(unix.AT_FDCWD, dir, 0, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY})
		if err != nil && !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.EINVAL) {
			return fmt.Errorf("make %s read-only: %w", dir, err)
		}
	}
	return nil
}

// takeTrees takes what the guest needs out of the file system, before it is hidden.
func takeTrees(g Guest) (needs []need, err error) {
	take := func(path string, set uint64) error {
		resolved, err := filepath.EvalSymlinks(path)
		if err != nil {
			return fmt.Errorf("what the guest needs: %w", err)
		}
		st, err := os.Stat(resolved)
		if err != nil {
			return fmt.Errorf("what the guest needs: %w", err)
		}
		tree, err := unix.OpenTree(unix.AT_FDCWD, resolved, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE)
		if err != nil {
			return fmt.Errorf("take %s: %w", resolved, err)
		}
		needs = append(needs, need{resolved, st.IsDir(), tree})
		attr := &unix.MountAttr{Attr_set: set | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV}
		if err := unix.MountSetattr(tree, "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, attr); err != nil {
			return fmt.Errorf("take %s: %w", resolved, err)
		}
		return nil
	}
	for _, p := range g.Read {
		if err := take(p, unix.MOUNT_ATTR_RDONLY); err != nil {
			return needs, err
		}
	}
	for _, p := range g.Write {
		if err := take(p, 0); err != nil {
			return needs, err
		}
	}
	return needs, nil
}

// mask puts an empty file system over a directory, where there is one.
func mask(dir, options string) error {
	st, err := os.Stat(dir)
	if errors.Is(err, os.ErrNotExist) || (err == nil && !st.IsDir()) {
		return nil
	}
	if err == nil {
		err = unix.Mount("tmpfs", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, options)
	}
	if err != nil {
		return fmt.Errorf("hide %s: %w", dir, err)
	}
	return nil
}

// attach puts what the guest needs to its place. Where the user could not get there, the
// directory that stands in the way is masked too.
func attach(n need, user uint32, masks []string) ([]string, error) {
	at := "/"
	for _, part := range strings.Split(strings.Trim(filepath.Dir(n.path), "/"), "/") {
		if part == "" {
			continue
		}
		at = filepath.Join(at, part)
		var st unix.Stat_t
		err := unix.Lstat(at, &st)
		switch {
		case errors.Is(err, unix.ENOENT): // below a mask: all else has been there a moment ago
			if err := os.Mkdir(at, 0o755); err != nil {
				return masks, fmt.Errorf("show %s: %w", n.path, err)
			}
		case err != nil:
			return masks, fmt.Errorf("show %s: %w", n.path, err)
		case st.Mode&0o001 == 0 && st.Uid != user:
			if err := mask(at, "mode=755,size="+emptySize); err != nil {
				return masks, err
			}
			masks = append(masks, at)
		}
	}
	if _, err := os.Lstat(n.path); errors.Is(err, os.ErrNotExist) {
		if n.dir {
			err = os.Mkdir(n.path, 0o755)
		} else {
			err = os.WriteFile(n.path, nil, 0o644)
		}
		if err != nil {
			return masks, fmt.Errorf("show %s: %w", n.path, err)
		}
	}
	if err := unix.MoveMount(n.tree, "", unix.AT_FDCWD, n.path, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return masks, fmt.Errorf("show %s: %w", n.path, err)
	}
	return masks, nil
}

// under reports whether a path is one of dirs or below one.
func under(path string, dirs []string) bool {
	return slices.ContainsFunc(dirs, func(d string) bool {
		return path == d || strings.HasPrefix(path, strings.TrimSuffix(d, "/")+"/")
	})
}
