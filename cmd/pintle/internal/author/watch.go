package author

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"
)

// settle is how long nothing must change before a change is told: editors write a file in
// several steps, and version control many files.
const settle = 150 * time.Millisecond

// Watch tells of changes of what a plugin in dir is built of, until ctx is done. Several that
// come before the first is taken are one.
func Watch(ctx context.Context, dir string) (<-chan struct{}, error) {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, fmt.Errorf("watch %s: %w", dir, err)
	}
	if err := addFolders(w, dir, dir); err != nil {
		_ = w.Close()
		return nil, fmt.Errorf("watch %s: %w", dir, err)
	}
	changes := make(chan struct{}, 1)
	go func() {
		defer w.Close()
		quiet := time.NewTimer(settle)
		quiet.Stop()
		for {
			select {
			case e, ok := <-w.Events:
				if !ok {
					return
				}
				if e.Has(fsnotify.Create) {
					if st, err := os.Stat(e.Name); err == nil && st.IsDir() {
						_ = addFolders(w, dir, e.Name) // one that can't be read can't be built either
					}
				}
				if e.Op != fsnotify.Chmod && matters(dir, e.Name) {
					quiet.Reset(settle)
				}
			case _, ok := <-w.Errors: // of events that were lost: something has changed
				if !ok {
					return
				}
				quiet.Reset(settle)
			case <-quiet.C:
				select {
				case changes <- struct{}{}:
				default:
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	return changes, nil
}

// addFolders watches a folder and those in it.
func addFolders(w *fsnotify.Watcher, root, folder string) error {
	return filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if !d.IsDir() {
			return nil
		}
		if path != root && ignored(d.Name()) {
			return fs.SkipDir
		}
		return w.Add(path)
	})
}

// ignored folders and files are not built from, or are built.
func ignored(name string) bool {
	return strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_") || name == "build" || name == "bin" || name == "docs" || name == "testdata"
}

func matters(dir, file string) bool {
	rel, err := filepath.Rel(dir, file)
	if err != nil {
		return false
	}
	for _, part := range strings.Split(filepath.ToSlash(rel), "/") {
		if ignored(part) {
			return false
		}
	}
	switch name := filepath.Base(file); {
	case strings.HasSuffix(name, "_test.go"), strings.HasSuffix(name, ".md"), strings.HasSuffix(name, "~"), name == "Makefile", name == "4913": // vim's
		return false
	}
	return true
}
