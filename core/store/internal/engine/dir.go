package engine

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
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

// current is the name of the directory with the state, or "" in a new store.
func current(dir string) (string, error) {
	path := filepath.Join(dir, currentFile)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	name := strings.TrimSpace(string(b))
	if !strings.HasPrefix(name, statePrefix) || name != filepath.Base(name) {
		return "", fmt.Errorf("%s is corrupt: it should name a directory %sN and says %q", path, statePrefix, name)
	}
	if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
		return "", fmt.Errorf("%s names %s: %w", path, name, err)
	}
	return name, nil
}

// following is the name for the state after the one called name.
func following(name string) string {
	n, _ := strconv.ParseUint(strings.TrimPrefix(name, statePrefix), 10, 64)
	return fmt.Sprintf("%s%06d", statePrefix, n+1)
}

// setCurrent makes name the state, durably and all at once.
func setCurrent(dir, name string) error {
	return WriteFile(filepath.Join(dir, currentFile), []byte(name+"\n"))
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
func WriteFile(path string, content []byte) error {
	tmp := path + ".tmp"
	f, err := os.OpenFile(tmp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, fileMode)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return fmt.Errorf("writing %s: %w", tmp, err)
	}
	if err := os.Rename(tmp, path); err != nil {
		return err
	}
	return syncPath(filepath.Dir(path))
}

func syncPath(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

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
		if err := syncPath(filepath.Join(dir, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("syncing %s: %w", filepath.Join(dir, e.Name()), err)
		}
	}
	return syncPath(dir)
}

// run tells the next start whether what this process wrote without fsync survived. It
// did if the process closed the store, or if the operating system that holds the pages
// is still the same one. The inode tells a copied directory from the original.
type run struct {
	Boot  string `json:"boot"`
	Inode uint64 `json:"inode"`
	Clean bool   `json:"clean"`
}

// startRun reports whether the state's unsynced tail is trusted and marks the directory
// as in use.
func startRun(dir string) (trusted bool, err error) {
	now, err := thisRun(dir)
	if err != nil {
		return false, err
	}
	path := filepath.Join(dir, runFile)
	b, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		// A new store, or one whose mark was lost: there is nothing to trust.
	case err != nil:
		return false, err
	default:
		var last run
		if json.Unmarshal(b, &last) == nil {
			trusted = last.Clean || (last.Boot != "" && last.Boot == now.Boot && last.Inode == now.Inode)
		}
	}
	return trusted, writeRun(path, now)
}

// endRun marks the directory as closed with everything durable.
func endRun(dir string) error {
	now, err := thisRun(dir)
	if err != nil {
		return err
	}
	now.Clean = true
	return writeRun(filepath.Join(dir, runFile), now)
}

func writeRun(path string, r run) error {
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return WriteFile(path, append(b, '\n'))
}

func thisRun(dir string) (run, error) {
	// Without a boot identity nothing unsynced is trusted, which only costs time.
	boot, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	fi, err := os.Stat(dir)
	if err != nil {
		return run{}, err
	}
	r := run{Boot: string(bytes.TrimSpace(boot))}
	if st, ok := fi.Sys().(*syscall.Stat_t); ok {
		r.Inode = st.Ino
	}
	return r, nil
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
