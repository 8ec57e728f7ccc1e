package engine

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/pintle-dev/pintle/core/store/internal/durable"
)

// run tells the next start whether what this process wrote without fsync survived. It
// did if the process closed the store, or if the operating system that holds the pages
// is still the same one. The inode tells a copied directory from the original.
type run struct {
	Boot  string `json:"boot"`
	Inode uint64 `json:"inode"`
	Clean bool   `json:"clean"`
	// Log is the index at which the Raft log ended, and Files what the state directory had,
	// when the store was closed.
	Log   uint64          `json:"log,omitempty"`
	Files map[string]file `json:"files,omitempty"`
}

// file is what a file of the state was when the store was closed.
type file struct {
	Size int64 `json:"size"`
	// Sum is the checksum of those that Badger itself does not check.
	Sum string `json:"sum,omitempty"`
}

// lastRun returns the last run's mark and whether the state's unsynced tail is trusted. A mark
// that can't be read is one that was never made.
func lastRun(dir string) (last run, trusted bool, err error) {
	now, err := thisRun(dir)
	if err != nil {
		return last, false, err
	}
	path := filepath.Join(dir, runFile)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return last, false, nil // A new store, or one whose mark was lost: there is nothing to trust.
	}
	if err != nil {
		return last, false, err
	}
	if !parseRun(path, b, &last) {
		return run{}, false, nil
	}
	return last, last.Clean || (last.Boot != "" && last.Boot == now.Boot && last.Inode == now.Inode), nil
}

// parseRun reads a mark, which has a checksum but in the first format.
func parseRun(path string, b []byte, r *run) bool {
	if durable.Sealed(b) {
		content, err := durable.Unseal(path, b)
		if err != nil {
			return false
		}
		b = content
	}
	return json.Unmarshal(b, r) == nil
}

// ClosedAt is the index at which the Raft log ended when the store in dir was closed; 0 where it
// was not closed, or that is not known.
func ClosedAt(dir string) uint64 {
	last, _, err := lastRun(dir)
	if err != nil || !last.Clean {
		return 0
	}
	return last.Log
}

// startRun marks the directory as in use. Where what it has is not to be believed, the mark has
// no boot, so that the next start does not believe it either.
func startRun(dir string, trusted bool) error {
	now, err := thisRun(dir)
	if err != nil {
		return err
	}
	if !trusted {
		now.Boot = ""
	}
	return writeRun(filepath.Join(dir, runFile), now)
}

// endRun marks the directory as closed with everything durable.
func endRun(dir, state string, log uint64, trusted bool) error {
	if !trusted {
		return startRun(dir, false)
	}
	now, err := thisRun(dir)
	if err != nil {
		return err
	}
	if now.Files, err = filesOf(filepath.Join(dir, state)); err != nil {
		return err
	}
	now.Clean, now.Log = true, log
	return writeRun(filepath.Join(dir, runFile), now)
}

func writeRun(path string, r run) error {
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return durable.WriteSealed(path, append(b, '\n'))
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

// summedFiles are those of Badger's files whose damage it may take for the end of the file.
var summedFiles = map[string]bool{"MANIFEST": true, "KEYREGISTRY": true, "DISCARD": true}

func filesOf(dir string) (map[string]file, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	out := make(map[string]file, len(entries))
	for _, e := range entries {
		fi, err := e.Info()
		if err != nil {
			return nil, err
		}
		f := file{Size: fi.Size()}
		if summedFiles[e.Name()] {
			b, err := os.ReadFile(filepath.Join(dir, e.Name()))
			if err != nil {
				return nil, err
			}
			f.Sum = fmt.Sprintf("%08x", crc32.Checksum(b, durable.Castagnoli))
		}
		out[e.Name()] = f
	}
	return out, nil
}

// compare says how the state directory differs from what it was when the store was closed.
func (r *run) compare(dir string) error {
	if !r.Clean || r.Files == nil {
		return nil
	}
	now, err := filesOf(dir)
	if err != nil {
		return err
	}
	for name, want := range r.Files {
		got, ok := now[name]
		path := filepath.Join(dir, name)
		switch {
		case !ok:
			return &durable.Damage{Path: path, Offset: -1, Reason: "it is missing"}
		case got.Size != want.Size:
			return &durable.Damage{Path: path, Offset: min(got.Size, want.Size), Reason: fmt.Sprintf("it has %d bytes and had %d", got.Size, want.Size)}
		case got.Sum != want.Sum:
			return &durable.Damage{Path: path, Offset: -1, Reason: "its checksum is " + got.Sum + " and was " + want.Sum}
		}
	}
	for name := range now {
		if _, ok := r.Files[name]; !ok {
			return &durable.Damage{Path: filepath.Join(dir, name), Offset: -1, Reason: "it was not there when the store was closed"}
		}
	}
	return nil
}
