package host

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"

	"github.com/pintle-dev/pintle/sdk/protocol"
)

// The definitions of plugins' types are kept in a file each, so that their objects are
// served from the start after a restart of the core, before the plugins are up: reads work,
// and writes are answered with 503 by the hooks.

func (t *typesHolder) file() string {
	return filepath.Join(t.supervisor.host.config.Dir, "types", t.supervisor.spec.Name)
}

func (t *typesHolder) remembered() bool {
	_, err := os.Stat(t.file())
	return err == nil
}

// remember writes the definitions that the bundle has. Where that fails the types are
// served a little later after a restart, which is no reason to stop.
func (t *typesHolder) remember() {
	snapshot, err := t.bundle.Snapshot()
	if err == nil {
		err = writeFile(t.file(), snapshot)
	}
	if err != nil {
		t.supervisor.log.Warn("resource types are not remembered", "error", err)
	}
}

// recall offers the types of an earlier life of the host.
func (t *typesHolder) recall() {
	snapshot, err := os.ReadFile(t.file())
	if errors.Is(err, os.ErrNotExist) {
		return
	}
	if err == nil {
		err = t.bundle.Restore(snapshot)
	}
	if err == nil {
		err = t.offer(t.bundle, true)
	}
	if err != nil {
		t.supervisor.log.Warn("resource types of an earlier run are not served yet", "error", err)
	}
}

func (t *typesHolder) forgetFile() error {
	err := os.Remove(t.file())
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// writeFile replaces a file as a whole, unless it has that content.
func writeFile(path string, content []byte) error {
	if have, err := os.ReadFile(path); err == nil && bytes.Equal(have, content) {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	next := path + ".next"
	if err := os.WriteFile(next, content, 0o600); err != nil {
		return err
	}
	return os.Rename(next, path)
}

// types is the holder of a plugin's types.
func (s *supervisor) types() *typesHolder {
	return s.holders[protocol.PointResource].(*typesHolder)
}
