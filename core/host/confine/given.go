package confine

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// maxCopy is the size of the largest file of which a guest gets a copy, where the file itself
// can't be shown to its user.
const maxCopy = 1 << 20

// givenError: the guest can't have what it was given. Nothing that is left out would help.
type givenError struct {
	path string
	err  error
}

func (e *givenError) Error() string { return "file " + e.path + ": " + e.err.Error() }
func (e *givenError) Unwrap() error { return e.err }

// takeGiven takes what the guest was given out of the file system. To the guest's user it
// belongs as it does to its owner, by a mapping of ids on the mount: nothing changes on the
// disk, and nobody else can read more than before.
func takeGiven(g *Guest, user uint32) (needs []need, err error) {
	spaces := map[[2]uint32]*os.File{}
	defer func() {
		for _, f := range spaces {
			_ = f.Close()
		}
	}()
	for _, given := range g.Given {
		n, err := takeOne(g, given, user, spaces)
		if err != nil {
			return needs, &givenError{given.Path, err}
		}
		needs = append(needs, n)
	}
	return needs, nil
}

func takeOne(g *Guest, given Given, user uint32, spaces map[[2]uint32]*os.File) (need, error) {
	resolved, err := filepath.EvalSymlinks(given.Path)
	if err != nil {
		return need{}, err
	}
	var st unix.Stat_t
	if err := unix.Stat(resolved, &st); err != nil {
		return need{}, err
	}
	tree, err := unix.OpenTree(unix.AT_FDCWD, resolved, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE)
	if err != nil {
		return need{}, err
	}
	n := need{path: resolved, dir: st.Mode&unix.S_IFMT == unix.S_IFDIR, tree: tree}
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV}
	if kind := st.Mode & unix.S_IFMT; kind == unix.S_IFCHR || kind == unix.S_IFBLK {
		attr.Attr_set = unix.MOUNT_ATTR_NOSUID // what is given is the device
	}
	if !given.Write {
		attr.Attr_set |= unix.MOUNT_ATTR_RDONLY
	}
	set := func(a unix.MountAttr) error {
		return unix.MountSetattr(tree, "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, &a)
	}
	if user == uint32(os.Geteuid()) || user == st.Uid {
		return n, closeOn(tree, set(attr))
	}
	space, err := mapping(st.Uid, st.Gid, user, spaces)
	if err == nil {
		mapped := attr
		mapped.Attr_set |= unix.MOUNT_ATTR_IDMAP
		mapped.Userns_fd = uint64(space.Fd())
		if err = set(mapped); err == nil {
			return n, nil
		}
	}
	// Not every file system, nor every kernel, maps ids.
	switch {
	case open(&st, given.Write):
		return n, closeOn(tree, set(attr))
	case st.Mode&unix.S_IFMT == unix.S_IFREG && !given.Write && st.Size <= maxCopy:
		_ = unix.Close(tree)
		n.tree, err = privateCopy(resolved, user)
		return n, err
	}
	_ = unix.Close(tree)
	return need{}, fmt.Errorf("the plugin runs as user %d, which may not use it, and it can't be shown as that user's (%w): let others use it, or put it onto a file system that maps ids", user, err)
}

func closeOn(fd int, err error) error {
	if err != nil {
		_ = unix.Close(fd)
	}
	return err
}

// open reports whether everybody may use a file as the guest is to.
func open(st *unix.Stat_t, write bool) bool {
	bits := uint32(0o004)
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		bits = 0o005
	case unix.S_IFSOCK:
		bits = 0o006
	}
	if write {
		bits |= 0o002
	}
	return st.Mode&bits == bits
}

// mapping is a user namespace in which the owner of files is the guest's user.
func mapping(uid, gid, user uint32, spaces map[[2]uint32]*os.File) (*os.File, error) {
	key := [2]uint32{uid, gid}
	if f := spaces[key]; f != nil {
		return f, nil
	}
	one := func(id uint32) []syscall.SysProcIDMap {
		return []syscall.SysProcIDMap{{ContainerID: int(id), HostID: int(user), Size: 1}}
	}
	// The process never runs: it stops where it would, and is killed.
	cmd := exec.Command("/proc/self/exe") //nolint:noctx // ends at once
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWUSER, UidMappings: one(uid), GidMappings: one(gid),
		Ptrace: true, Pdeathsig: syscall.SIGKILL,
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("user namespace: %w", err)
	}
	f, err := os.Open(fmt.Sprintf("/proc/%d/ns/user", cmd.Process.Pid))
	_ = cmd.Process.Kill()
	_ = cmd.Wait() // it was killed
	if err != nil {
		return nil, fmt.Errorf("user namespace: %w", err)
	}
	spaces[key] = f
	return f, nil
}

// privateCopy is a mount of a copy of a file, in memory, that only its user can read. It does
// not follow what becomes of the file.
func privateCopy(path string, user uint32) (tree int, err error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return -1, fmt.Errorf("copy: %w", err)
	}
	fs, err := unix.Fsopen("tmpfs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, fmt.Errorf("copy: %w", err)
	}
	defer func() { _ = unix.Close(fs) }()
	for k, v := range map[string]string{"size": "2m", "nr_inodes": "8", "mode": "0755"} {
		if err := unix.FsconfigSetString(fs, k, v); err != nil {
			return -1, fmt.Errorf("copy: %s: %w", k, err)
		}
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return -1, fmt.Errorf("copy: %w", err)
	}
	top, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV)
	if err != nil {
		return -1, fmt.Errorf("copy: %w", err)
	}
	defer func() { _ = unix.Close(top) }()
	fd, err := unix.Openat(top, "file", unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY|unix.O_CLOEXEC, 0o400)
	if err != nil {
		return -1, fmt.Errorf("copy: %w", err)
	}
	file := os.NewFile(uintptr(fd), path)
	_, err = file.Write(content)
	if err = errors.Join(err, file.Chown(int(user), int(user)), file.Close()); err != nil {
		return -1, fmt.Errorf("copy: %w", err)
	}
	if tree, err = unix.OpenTree(top, "file", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC); err != nil {
		return -1, fmt.Errorf("copy: %w", err)
	}
	return tree, closeOn(tree, unix.MountSetattr(tree, "", unix.AT_EMPTY_PATH, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}))
}

// prepare looks at what a guest is given before anything is made for it.
func (k *Keeper) prepare(g *Guest) error {
	for _, given := range g.Given {
		resolved, err := filepath.EvalSymlinks(given.Path)
		if err == nil && g.Propagate && given.Write {
			err = k.shared.share(resolved)
		}
		if err != nil {
			return &givenError{given.Path, err}
		}
	}
	for _, name := range g.Capabilities {
		if _, ok := capabilities[name]; !ok {
			return fmt.Errorf("capability %q: is not one that a guest may have", name)
		}
	}
	return nil
}

// shared are the directories that were made mounts of their own on the machine, as what is
// mounted below them is to be seen on both sides.
type shared struct {
	mu   sync.Mutex
	dirs []string
}

// share makes sure that mounts below a directory reach other namespaces.
func (s *shared) share(dir string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	ok, err := isShared(dir)
	if err != nil || ok {
		return err
	}
	if err := unix.Mount(dir, dir, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("propagate mounts: %w", err)
	}
	s.dirs = append(s.dirs, dir)
	if err := unix.Mount("", dir, "", unix.MS_SHARED, ""); err != nil {
		return fmt.Errorf("propagate mounts: %w", err)
	}
	return nil
}

// undo takes the mounts back that share has made, but for those on which something is mounted:
// that is there for others.
func (s *shared) undo() (err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, dir := range s.dirs {
		switch e := unix.Unmount(dir, 0); {
		case e == nil, errors.Is(e, unix.EBUSY), errors.Is(e, unix.EINVAL), errors.Is(e, unix.ENOENT): // the last two: it is none any more
		default:
			err = errors.Join(err, fmt.Errorf("propagate mounts: %s: %w", dir, e))
		}
	}
	s.dirs = nil
	return err
}

// isShared reports whether the mount that a directory is on propagates.
func isShared(dir string) (bool, error) {
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return false, fmt.Errorf("propagate mounts: %w", err)
	}
	best, is := -1, false
	for line := range strings.Lines(string(b)) {
		fields := strings.Fields(line) // ID parent device root POINT options [optional…] - …
		if len(fields) < 7 {
			continue
		}
		point := strings.ReplaceAll(fields[4], `\040`, " ")
		if len(point) < best || !under(dir, []string{point}) {
			continue
		}
		best, is = len(point), strings.HasPrefix(fields[6], "shared:")
	}
	return is, nil
}
