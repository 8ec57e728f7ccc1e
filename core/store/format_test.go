package store_test

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/pintle-dev/pintle/core/store"
	"github.com/pintle-dev/pintle/core/store/internal/durable"
)

// unpack makes the directory that an archive in testdata has.
func unpack(t *testing.T, name string) string {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", name+".tar.zst"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := zstd.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	dir := t.TempDir()
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return filepath.Join(dir, name)
		}
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, filepath.Clean("/"+h.Name))
		if h.Typeflag == tar.TypeDir {
			if err := os.MkdirAll(path, 0o700); err != nil {
				t.Fatal(err)
			}
			continue
		}
		b, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestFirstFormatIsRead opens what the code of before FORMAT wrote: 200 pods, each second one
// written again and each seventh of the first 140 deleted, half of it behind a snapshot, and an
// object that is in the value log.
func TestFirstFormatIsRead(t *testing.T) {
	for name, prepare := range map[string]func(dir string) error{
		"closed":       func(string) error { return nil },
		"another boot": func(dir string) error { return os.Remove(filepath.Join(dir, "RUN")) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := unpack(t, "format-1")
			if err := prepare(dir); err != nil {
				t.Fatal(err)
			}
			for range 3 {
				s := open(t, testConfig(dir))
				checkFirstFormat(t, s)
				mustPut(t, s, "pods/b/new", "written in the new format")
				closeStore(t, s)
			}
			b, err := os.ReadFile(filepath.Join(dir, "FORMAT"))
			if err != nil || !strings.HasPrefix(string(b), "Pintle store, format 2\n") {
				t.Fatalf("FORMAT says %q: %v", b, err)
			}
			if _, err := os.Stat(filepath.Join(dir, "raft", "wal-meta.db")); !errors.Is(err, os.ErrNotExist) {
				t.Fatalf("the old metadata of the log is still there: %v", err)
			}
			// Servers of before know no FORMAT, and must stop at what they do know.
			if b, err = os.ReadFile(filepath.Join(dir, "CURRENT")); err != nil || strings.HasPrefix(string(b), "state-") {
				t.Fatalf("CURRENT says %q, which the old code would read: %v", b, err)
			}
		})
	}
}

func checkFirstFormat(t *testing.T, s *store.Store) {
	t.Helper()
	for i := range 200 {
		o, err := s.Get(context.Background(), store.Key(fmt.Sprintf("pods/a/p%03d", i)))
		if i%7 == 0 && i < 140 {
			wantErr(t, "a deleted pod", err, store.ErrNotFound)
			continue
		}
		want := fmt.Sprint("first ", i, strings.Repeat(" and more", i%20))
		if i%2 == 0 {
			want = fmt.Sprint("second ", i/2)
		}
		if err != nil || check(t, o.Data, o.Revision) != want {
			t.Fatalf("pod %d is %s: %v", i, o.Data, err)
		}
	}
	o, err := s.Get(context.Background(), "configmaps/a/large")
	if err != nil || check(t, o.Data, o.Revision) != strings.Repeat("large value ", 20000) {
		t.Fatalf("the large object: %d bytes, %v", len(o.Data), err)
	}
}

func TestNewerFormatIsRefused(t *testing.T) {
	dir := t.TempDir()
	s := open(t, testConfig(dir))
	mustPut(t, s, "pods/a/x", "1")
	closeStore(t, s)
	path := filepath.Join(dir, "FORMAT")
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := durable.WriteSealed(path, []byte("Pintle store, format 3\n")); err != nil {
		t.Fatal(err)
	}
	_, err = store.Open(context.Background(), testConfig(dir))
	wantErr(t, "a newer format", err, store.ErrFormat)
	for _, want := range []string{"format 3", "reads 1 to 2", "start the newer version"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not say %q: %v", want, err)
		}
	}
	if err := os.WriteFile(path, before, 0o600); err != nil {
		t.Fatal(err)
	}
	if o, err := open(t, testConfig(dir)).Get(context.Background(), "pods/a/x"); err != nil || check(t, o.Data, o.Revision) != "1" {
		t.Fatalf("refusing has changed something: %v", err)
	}
}
