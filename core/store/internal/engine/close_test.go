package engine

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"
)

// Badger writes what it has in memory again and again where it can't be written. A store
// whose directory has been removed ends all the same.
func TestCloseEndsWhereTheDirectoryIsGone(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	e, err := Open(dir, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if err := fill(e.db); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	closed := make(chan error, 1)
	go func() { closed <- e.Close() }()
	select {
	case err := <-closed:
		if !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("close: %v, want one that says what is gone", err)
		}
	case <-time.After(closing / 2):
		t.Error("a store whose directory is gone does not close")
	}
	if err := e.Close(); err != nil {
		t.Errorf("a second close: %v", err)
	}
}

// A disk that takes nothing does not keep a process from ending, either.
func TestCloseIsBounded(t *testing.T) {
	dir := t.TempDir()
	db, err := openBadger(filepath.Join(dir, "state"), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if err := fill(db); err != nil {
		t.Fatal(err)
	}
	// The tables that it is going to write have names that are taken.
	for n := range 100 {
		if err := os.Mkdir(filepath.Join(dir, "state", fmt.Sprintf("%06d.sst", n)), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	left, err := closeBadger(db, filepath.Join(dir, "state"), 100*time.Millisecond)
	if err == nil || !left {
		t.Errorf("closed: left %t, error %v", left, err)
	}
}

// fill leaves something in memory.
func fill(db *badger.DB) error {
	txn := db.NewTransactionAt(1, true)
	defer txn.Discard()
	if err := txn.Set([]byte("k"), []byte("v")); err != nil {
		return err
	}
	return txn.CommitAt(1, nil)
}
