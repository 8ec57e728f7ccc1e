package engine

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/pintle-dev/pintle/core/store/internal/durable"
)

// Files of the store's directory that belong to the engine.
const (
	lockFile    = "LOCK"
	currentFile = "CURRENT"
	runFile     = "RUN"
	statePrefix = "state-"

	dirMode  = 0o700
	fileMode = 0o600
)

// currentHead begins the file that names the state. Servers that know the first format only
// take it for a name that is none, and stop before they touch anything.
const currentHead = "format 2, which needs a newer version of this program\n"

// lockDir takes the directory for this process.
func lockDir(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, dirMode); err != nil {
		return nil, fmt.Errorf("store directory: %w", err)
	}
	path := filepath.Join(dir, lockFile)
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, fileMode)
	if err != nil {
		return nil, fmt.Errorf("store directory: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		defer f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			var pid [20]byte
			n, _ := f.ReadAt(pid[:], 0)
			return nil, fmt.Errorf("store directory %s is in use by process %s; stop it or choose another directory",
				dir, strings.TrimSpace(string(pid[:n])))
		}
		return nil, fmt.Errorf("locking %s: %w", path, err)
	}
	if err := f.Truncate(0); err == nil {
		_, _ = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	return f, nil
}

// Lock takes the directory for this process until unlock is called.
func Lock(dir string) (unlock func() error, err error) {
	f, err := lockDir(dir)
	if err != nil {
		return nil, err
	}
	return f.Close, nil
}

// current is the name of the directory with the state, or "" in a new store. The first format
// had the bare name.
func current(dir string) (name string, bare bool, err error) {
	path := filepath.Join(dir, currentFile)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", false, nil
	}
	if err != nil {
		return "", false, err
	}
	if bare = bytes.HasPrefix(b, []byte(statePrefix)); !bare {
		if b, err = durable.Unseal(path, b); err != nil {
			return "", false, err
		}
		b = bytes.TrimPrefix(b, []byte(currentHead))
	}
	name = strings.TrimSpace(string(b))
	if !strings.HasPrefix(name, statePrefix) || name != filepath.Base(name) {
		return "", false, &durable.Damage{Path: path, Offset: 0, Reason: fmt.Sprintf("it should name a directory %sN and says %q", statePrefix, name)}
	}
	if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
		return "", false, &durable.Damage{Path: path, Offset: -1, Reason: "what it names is not there", Err: err}
	}
	return name, bare, nil
}

// following is the name for the state after the one called name.
func following(name string) string {
	n, _ := strconv.ParseUint(strings.TrimPrefix(name, statePrefix), 10, 64)
	return fmt.Sprintf("%s%06d", statePrefix, n+1)
}

// setCurrent makes name the state, durably and all at once.
func setCurrent(dir, name string) error {
	return durable.WriteSealed(filepath.Join(dir, currentFile), []byte(currentHead+name+"\n"))
}

// removeOthers deletes states that a crash left behind.
func removeOthers(dir, keep string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), statePrefix) && e.Name() != keep {
			if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// WriteFile replaces a file durably: after a crash it has the old or the new content.
func WriteFile(path string, content []byte) error { return durable.WriteFile(path, content) }

// syncFiles makes every file of a state directory durable. Badger's own Sync leaves out
// the logs of memtables that wait to be flushed; syncing a file also writes what was
// changed through its memory map.
func syncFiles(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !e.Type().IsRegular() {
			continue
		}
		// A memtable may have been flushed and its log removed since the listing: the
		// table that replaces it was synced when it was made.
		if err := durable.SyncPath(filepath.Join(dir, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("syncing %s: %w", filepath.Join(dir, e.Name()), err)
		}
	}
	return durable.SyncPath(dir)
}

// FreeBytes is the room left for this process on the disk that holds dir.
func FreeBytes(dir string) (uint64, error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return 0, fmt.Errorf("free space of %s: %w", dir, err)
	}
	return st.Bavail * uint64(st.Bsize), nil
}

// DiskBytes is the space that dir uses.
func DiskBytes(dir string) int64 {
	var n int64
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil //nolint:nilerr // files come and go while they are counted
		}
		if fi, err := d.Info(); err == nil {
			if st, ok := fi.Sys().(*syscall.Stat_t); ok {
				n += st.Blocks * 512
			}
		}
		return nil
	})
	return n
}
