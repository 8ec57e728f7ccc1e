package engine

import (
	"os"
	"path/filepath"
)

// dropUnborn removes logs of memtables and of values that have a name and not a byte. Badger
// makes the file, then gives it its size: a process or a machine that ends in between leaves it
// empty, and Badger opens no state with such a file. A store that was closed has none (see
// run.compare).
func dropUnborn(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		ext := filepath.Ext(e.Name())
		if ext != ".mem" && ext != ".vlog" {
			continue
		}
		fi, err := e.Info()
		if err != nil {
			return err
		}
		if fi.Size() == 0 {
			if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}
