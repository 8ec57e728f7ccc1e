package engine_test

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/pintle-dev/pintle/core/store/internal/engine"
)

// TestEmptyLogsAreNoReasonToStop opens a state in which Badger had just made a log when the
// power failed.
func TestEmptyLogsAreNoReasonToStop(t *testing.T) {
	dir := t.TempDir()
	open := func() *engine.Engine {
		t.Helper()
		e, err := engine.Open(dir, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	e := open()
	path := e.Path()
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	for _, ext := range []string{"mem", "vlog"} {
		t.Run(ext, func(t *testing.T) {
			// The mark of a run that did not end, on a machine that runs no more.
			if err := os.Remove(filepath.Join(dir, "RUN")); err != nil {
				t.Fatal(err)
			}
			var last int
			files, err := filepath.Glob(filepath.Join(path, "*."+ext))
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range files {
				if _, err := fmt.Sscanf(filepath.Base(f), "%d."+ext, &last); err != nil {
					t.Fatal(err)
				}
			}
			name := "%05d." + ext
			if ext == "vlog" {
				name = "%06d." + ext
			}
			if err := os.WriteFile(filepath.Join(path, fmt.Sprintf(name, last+1)), nil, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := open().Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}
