package confine

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// entryBytes is what a file or a directory counts at least: it takes room beside its
	// content.
	entryBytes = 4096
	// maxDepth of directories that are looked into: there is no other end to them.
	maxDepth = 64
)

// Disk is the room that the guest takes of the machine's disks: all that lies in the
// directories that are its own, and files that it has open and whose names are gone. What is on
// its way in sockets between its own processes is not seen. Counting ends where it is more than
// enough.
func (c *Cell) Disk(enough int64) (int64, error) {
	n, err := DiskUsage(c.guest.Write, enough)
	if err != nil || n > enough || c.guest.writes() {
		return n, err
	}
	return n + c.nameless(), nil
}

// writes reports whether the guest has files of the machine to write to, which don't count.
func (g *Guest) writes() bool {
	return slices.ContainsFunc(g.Given, func(f Given) bool { return f.Write })
}

// DiskUsage is the room that directories take, with all that is in them. Their contents may be
// changed by somebody else meanwhile.
func DiskUsage(dirs []string, enough int64) (int64, error) {
	w := &diskWalk{enough: enough, buffer: make([]byte, 8192)}
	for _, dir := range dirs {
		fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if errors.Is(err, unix.ENOENT) {
			continue
		}
		if err != nil {
			return 0, fmt.Errorf("room that %s takes: %w", dir, err)
		}
		if err := w.walk(fd, 0); err != nil {
			return 0, fmt.Errorf("room that %s takes: %w", dir, err)
		}
	}
	return w.bytes, nil
}

type diskWalk struct {
	bytes, enough int64
	buffer        []byte
}

// walk counts a directory, which it closes. It goes from one to the next by descriptors, as
// paths may be longer than the kernel takes, and links lead elsewhere.
func (w *diskWalk) walk(fd, depth int) error {
	defer func() { _ = unix.Close(fd) }()
	if depth > maxDepth {
		w.bytes = w.enough + 1
		return nil
	}
	var below []string
	for w.bytes <= w.enough {
		n, err := unix.Getdents(fd, w.buffer)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return fmt.Errorf("read directory: %w", err)
		}
		if n == 0 {
			break
		}
		var names []string
		_, _, names = unix.ParseDirent(w.buffer[:n], -1, names)
		for _, name := range names {
			var st unix.Stat_t
			if unix.Fstatat(fd, name, &st, unix.AT_SYMLINK_NOFOLLOW) != nil {
				continue // it is gone
			}
			w.bytes += max(entryBytes, st.Blocks*512)
			if st.Mode&unix.S_IFMT == unix.S_IFDIR {
				below = append(below, name)
			}
		}
	}
	for _, name := range below {
		if w.bytes > w.enough {
			return nil
		}
		sub, err := unix.Openat(fd, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err != nil {
			continue // it is gone, or something else by now
		}
		if err := w.walk(sub, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// nameless are the bytes of files on the disk of its directories that the guest has open or
// mapped, and that have no name any more.
func (c *Cell) nameless() (bytes int64) {
	var own unix.Stat_t
	if len(c.guest.Write) == 0 || unix.Stat(c.guest.Write[0], &own) != nil {
		return 0
	}
	seen := map[uint64]bool{}
	for _, pid := range c.processes() {
		for _, what := range []string{"fd", "map_files"} {
			dir := filepath.Join("/proc", strconv.Itoa(pid), what)
			entries, err := os.ReadDir(dir)
			if err != nil {
				continue // it has ended
			}
			for _, e := range entries {
				var st unix.Stat_t
				if unix.Stat(filepath.Join(dir, e.Name()), &st) == nil &&
					st.Nlink == 0 && st.Mode&unix.S_IFMT == unix.S_IFREG && st.Dev == own.Dev && !seen[st.Ino] {
					seen[st.Ino] = true
					bytes += st.Blocks * 512
				}
			}
		}
	}
	return bytes
}

// Waited is for how long the guest's threads that there are now have waited for a core to run on,
// all together; 0 where the kernel does not count that.
func (c *Cell) Waited() (sum time.Duration) {
	for _, pid := range c.processes() {
		files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid)) // no bad pattern
		for _, file := range files {
			b, err := os.ReadFile(file)
			var ran, waited int64
			if _, e := fmt.Sscan(string(b), &ran, &waited); err == nil && e == nil {
				sum += time.Duration(waited)
			}
		}
	}
	return sum
}

// Written is what the processes that the guest has now have written to disks in their lives; false
// where the kernel does not tell.
func (c *Cell) Written() (sum int64, ok bool) {
	for _, pid := range c.processes() {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", pid))
		_, after, found := strings.Cut(string(b), "\nwrite_bytes: ")
		line, _, _ := strings.Cut(after, "\n")
		n, e := strconv.ParseInt(line, 10, 64)
		if err != nil || !found || e != nil {
			return 0, false
		}
		sum += n
	}
	return sum, true
}

// processes are the guest's, as far as they are known.
func (c *Cell) processes() []int {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closed:
		return nil
	case c.group != nil:
		return c.group.processes()
	case c.first != nil:
		return []int{c.first.Pid}
	}
	return nil
}
