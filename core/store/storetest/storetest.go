// Package storetest opens stores for the tests of what is built on one. It knows nothing of
// what they keep in it.
package storetest

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/pintle-dev/pintle/core/store"
)

// Open opens a store of one member in a directory of its own. It is closed when the test
// ends, after what was registered with tb.Cleanup later.
func Open(tb testing.TB) *store.Store {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	s, err := store.Open(ctx, store.Config{Dir: tb.TempDir(), Bootstrap: true, MinFreeBytes: 1 << 20, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Errorf("close the store: %v", err)
		}
	})
	return s
}
