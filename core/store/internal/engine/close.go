package engine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/dgraph-io/badger/v4"
)

// closing bounds how long Badger has for bringing to the disk what it has in memory.
const closing = 20 * time.Second

// closeBadger closes the database in a directory. Badger tries for ever to write what it has
// in memory, even where the directory is gone or the disk takes nothing. It is left alone then, as
// if the process had been killed: the log of the store has what is not on the disk. left says
// that Badger still holds its files.
func closeBadger(db *badger.DB, dir string, within time.Duration) (left bool, err error) {
	done := make(chan error, 1)
	go func() { done <- db.Close() }()
	timeout := time.NewTimer(within)
	defer timeout.Stop()
	look := time.NewTicker(within / 100)
	defer look.Stop()
	for {
		select {
		case err := <-done:
			return false, err
		case <-timeout.C:
			return true, fmt.Errorf("close the state in %s: not written within %v; it is completed from the log at the next start", dir, within)
		case <-look.C:
			if _, err := os.Stat(filepath.Join(dir, badger.ManifestFilename)); errors.Is(err, fs.ErrNotExist) {
				return true, fmt.Errorf("close the state in %s: its files have been removed: %w", dir, err)
			}
		}
	}
}
