package filewatch_test

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/pintle-dev/pintle/core/internal/filewatch"
)

// warned tells of lines of a log.
type warned chan struct{}

func (w warned) Write(line []byte) (int, error) {
	select {
	case w <- struct{}{}:
	default:
	}
	return len(line), nil
}

// TestFollow changes a file in the ways in which configuration is changed. Each content is
// told of once, and one that is there again only after another.
func TestFollow(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "config.yaml")
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(file, "two") // was "one" when the server read it
	used, lines := make(chan string, 100), make(warned, 1)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- filewatch.Follow(ctx, file, []byte("one"), slog.New(slog.NewTextHandler(lines, nil)), func(data []byte) { used <- string(data) })
	}()
	expect := func(want string) {
		t.Helper()
		select {
		case got := <-used:
			if got != want {
				t.Fatalf("told of %q, want %q", got, want)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("not told of %q", want)
		}
	}
	expect("two")
	replace := func(text string) {
		t.Helper()
		write(filepath.Join(dir, "new"), text)
		if err := os.Rename(filepath.Join(dir, "new"), file); err != nil {
			t.Fatal(err)
		}
	}
	replace("three")
	expect("three")
	replace("three") // nothing to tell of: what comes next is what comes after it
	write(filepath.Join(dir, "other"), "of no interest")
	replace("two")
	expect("two")
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	select {
	case <-lines:
	case <-time.After(20 * time.Second):
		t.Fatal("nothing is said of a file that is gone")
	}
	replace("four")
	expect("four")
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestFollowNowhere says that a directory can't be watched.
func TestFollowNowhere(t *testing.T) {
	file := filepath.Join(t.TempDir(), "none", "config.yaml")
	if err := filewatch.Follow(t.Context(), file, nil, slog.New(slog.DiscardHandler), func([]byte) {}); err == nil {
		t.Error("no error")
	}
}
