// Package filewatch tells of changes of configuration files while a server runs. It must not
// know what is in them.
package filewatch

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
)

// poll is how often a file is looked at even where the system says nothing of changes.
const poll = time.Minute

// Follow calls use with the content of a file whenever it is another than last time, until
// ctx ends. It reads the file at once, so that a change since last was read is not missed. Of
// a file that can't be read it tells log, and what was last used holds. The directory is
// watched and not the file, which editors and mounted secrets replace; an error means that it
// can't be watched.
func Follow(ctx context.Context, file string, last []byte, log *slog.Logger, use func(data []byte)) error {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watch %s: %w", file, err)
	}
	defer w.Close()
	if err := w.Add(filepath.Dir(file)); err != nil {
		return fmt.Errorf("watch the directory of %s: %w", file, err)
	}
	tick := time.NewTicker(poll)
	defer tick.Stop()
	for {
		data, err := os.ReadFile(file)
		switch {
		case err != nil:
			log.Warn("a configuration file can't be read; what it said before holds", "file", file, "error", err)
		case !bytes.Equal(data, last):
			last = data
			use(data)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case _, ok := <-w.Events:
			if !ok {
				return nil
			}
		case err, ok := <-w.Errors:
			if ok {
				log.Warn("watching a configuration file", "file", file, "error", err)
			}
		}
	}
}
