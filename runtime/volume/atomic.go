package volume

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// file is one file of a volume.
type file struct {
	data []byte
	mode os.FileMode
	// uid, gid: -1 leaves root.
	uid, gid int
}

const (
	dataLink = "..data"
	dataTemp = "..data_tmp"
)

// writeAtomic makes dir hold exactly the files, by path. Readers go through the link
// ..data, which changes from one complete set of files to the next at once. It reports
// whether there was anything to change.
func writeAtomic(dir string, files map[string]file) (bool, error) {
	for p := range files {
		if !filepath.IsLocal(p) || strings.HasPrefix(p, "..") {
			return false, fmt.Errorf("path %q must stay in the volume and not begin with \"..\"", p)
		}
	}
	old, err := os.Readlink(filepath.Join(dir, dataLink))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, fmt.Errorf("read volume: %w", err)
	}
	if old != "" && same(filepath.Join(dir, old), files) {
		return false, linkTops(dir, files)
	}
	next, err := os.MkdirTemp(dir, ".."+time.Now().UTC().Format("2006_01_02_15_04_05."))
	if err != nil {
		return false, fmt.Errorf("write volume: %w", err)
	}
	if err := writeSet(next, files); err != nil {
		_ = os.RemoveAll(next) // what stays is removed by the next write
		return false, err
	}
	tmp := filepath.Join(dir, dataTemp)
	_ = os.Remove(tmp) // left by a write that was cut off; usually there is none
	if err := os.Symlink(filepath.Base(next), tmp); err != nil {
		_ = os.RemoveAll(next) // what stays is removed by the next write
		return false, fmt.Errorf("write volume: %w", err)
	}
	if err := os.Rename(tmp, filepath.Join(dir, dataLink)); err != nil {
		_ = os.RemoveAll(next) // what stays is removed by the next write
		return false, fmt.Errorf("write volume: %w", err)
	}
	if err := linkTops(dir, files); err != nil {
		return true, err
	}
	return true, removeOthers(dir, filepath.Base(next))
}

func writeSet(dir string, files map[string]file) error {
	if err := os.Chmod(dir, 0o755); err != nil {
		return fmt.Errorf("write volume: %w", err)
	}
	for p, f := range files {
		full := filepath.Join(dir, p)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			return fmt.Errorf("write volume: %w", err)
		}
		if err := os.WriteFile(full, f.data, f.mode); err != nil {
			return fmt.Errorf("write volume: %w", err)
		}
		if f.uid >= 0 || f.gid >= 0 {
			if err := os.Chown(full, f.uid, f.gid); err != nil {
				return fmt.Errorf("write volume: %w", err)
			}
		}
		// Again, since neither umask nor chown are to take part.
		if err := os.Chmod(full, f.mode); err != nil {
			return fmt.Errorf("write volume: %w", err)
		}
	}
	return nil
}

// same reports whether a directory holds exactly the files.
func same(dir string, files map[string]file) bool {
	n := 0
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, p)
		if err != nil {
			return err
		}
		f, ok := files[rel]
		if !ok {
			return errors.New("a file too many")
		}
		st, err := d.Info()
		if err != nil || st.Mode().Perm() != f.mode.Perm() {
			return errors.New("another mode")
		}
		have, err := os.ReadFile(p)
		if err != nil || !bytes.Equal(have, f.data) {
			return errors.New("other contents")
		}
		n++
		return nil
	})
	return err == nil && n == len(files)
}

// linkTops makes the names that people see links through ..data, and removes those that
// lead nowhere any more.
func linkTops(dir string, files map[string]file) error {
	tops := map[string]bool{}
	for p := range files {
		top, _, _ := strings.Cut(filepath.ToSlash(filepath.Clean(p)), "/")
		tops[top] = true
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("read volume: %w", err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), "..") {
			continue
		}
		if tops[e.Name()] {
			delete(tops, e.Name())
			continue
		}
		if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
			return fmt.Errorf("write volume: %w", err)
		}
	}
	for t := range tops {
		if err := os.Symlink(filepath.Join(dataLink, t), filepath.Join(dir, t)); err != nil {
			return fmt.Errorf("write volume: %w", err)
		}
	}
	return nil
}

// removeOthers removes all sets of files but the one in use.
func removeOthers(dir, keep string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("read volume: %w", err)
	}
	for _, e := range entries {
		if e.IsDir() && strings.HasPrefix(e.Name(), "..") && e.Name() != keep {
			if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
				return fmt.Errorf("write volume: %w", err)
			}
		}
	}
	return nil
}
