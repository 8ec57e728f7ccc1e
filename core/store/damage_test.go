package store_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/pintle-dev/pintle/core/store"
)

// fillAll writes something of everything that a store can have.
func fillAll(t testing.TB, s *store.Store) {
	t.Helper()
	for i := range 300 {
		mustPut(t, s, fmt.Sprintf("pods/a/p%03d", i), fmt.Sprint(i, strings.Repeat(" text", i%50)))
	}
	mustPut(t, s, "configmaps/a/large", strings.Repeat("large value ", 10000))
	if err := s.TakeSnapshot(); err != nil {
		t.Fatal(err)
	}
	for i := range 150 {
		mustPut(t, s, fmt.Sprintf("pods/a/p%03d", i*2), fmt.Sprint("again ", i))
	}
	for i := range 30 {
		if _, err := remove(s, fmt.Sprintf("pods/a/p%03d", i*7), store.Any); err != nil {
			t.Fatal(err)
		}
	}
}

// dump is everything that can be read, as of before.
func dump(s *store.Store, history uint64) (string, error) {
	var b strings.Builder
	fmt.Fprintln(&b, s.Revision())
	for _, bucket := range []store.Key{"configmaps/", "pods/"} {
		for _, at := range []uint64{0, history} {
			l, err := s.List(context.Background(), bucket, store.ListOptions{Revision: at})
			if err != nil {
				return "", err
			}
			for _, o := range l.Objects {
				fmt.Fprintln(&b, o.Key, o.Revision, len(o.Data), string(o.Data[:min(len(o.Data), 400)]))
			}
		}
	}
	return b.String(), nil
}

// copyDir copies a directory; what is zero stays a hole.
func copyDir(from, to string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.MkdirAll(filepath.Join(to, rel), 0o700)
		}
		return copySparse(path, filepath.Join(to, rel))
	})
}

func copySparse(from, to string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	var at int64
	buf, zeros := make([]byte, 1<<20), make([]byte, 1<<20)
	for {
		n, err := in.Read(buf)
		if !bytes.Equal(buf[:n], zeros[:n]) {
			if _, err := out.WriteAt(buf[:n], at); err != nil {
				return err
			}
		}
		at += int64(n)
		if errors.Is(err, io.EOF) {
			return out.Truncate(at)
		}
		if err != nil {
			return err
		}
	}
}

// filesOf lists the files in dir with anything in them, and how much of each is used.
func filesOf(t testing.TB, dir string) (names []string, used map[string]int64) {
	t.Helper()
	used = map[string]int64{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() == "LOCK" {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if n := len(bytes.TrimRight(b, "\x00")); n > 0 {
			names, used[rel] = append(names, rel), int64(n)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	return names, used
}

// TestDamageIsNeverServed flips bits and cuts files of a closed store at random: what opens has
// the same content, or an error says what is damaged.
func TestDamageIsNeverServed(t *testing.T) {
	whole := t.TempDir()
	s := open(t, testConfig(whole))
	fillAll(t, s)
	history := s.Revision() - 40
	want, err := dump(s, history)
	if err != nil {
		t.Fatal(err)
	}
	closeStore(t, s)
	names, used := filesOf(t, whole)
	tmp := t.TempDir()
	outcomes := map[string]int{}
	rapid.Check(t, func(t *rapid.T) {
		dir, err := os.MkdirTemp(tmp, "")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		if err := copyDir(whole, dir); err != nil {
			t.Fatal(err)
		}
		var what []string
		for range rapid.IntRange(1, 2).Draw(t, "damages") {
			what = append(what, damage(t, dir, names, used))
		}
		s, err := store.Open(context.Background(), testConfig(dir))
		if err != nil {
			if !errors.Is(err, store.ErrDamaged) {
				t.Fatalf("%v: an error of another kind: %v", what, err)
			}
			outcomes["refused"]++
			return
		}
		got, err := dump(s, history)
		if closeErr := s.Close(); err == nil && closeErr != nil {
			t.Logf("%v: close: %v", what, closeErr)
		}
		if err == nil && got != want {
			t.Fatalf("%v: other content is served:\n%s", what, firstDifference(got, want))
		}
		outcomes[fmt.Sprintf("opened, read: %t", err == nil)]++
	})
	t.Log(outcomes)
}

func damage(t *rapid.T, dir string, names []string, used map[string]int64) string {
	name := rapid.SampledFrom(names).Draw(t, "file")
	path := filepath.Join(dir, name)
	n := used[name]
	at := rapid.Int64Range(0, n-1).Draw(t, "offset")
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return name + " is gone already"
		}
		t.Fatal(err)
	}
	defer f.Close()
	switch kind := rapid.IntRange(0, 9).Draw(t, "kind"); {
	case kind < 6:
		b := make([]byte, 1)
		if _, err := f.ReadAt(b, at); err != nil {
			return "nothing there"
		}
		b[0] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		if _, err := f.WriteAt(b, at); err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("%s: a bit at %d of %d", name, at, n)
	case kind < 8:
		if err := f.Truncate(at); err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("%s: cut at %d of %d", name, at, n)
	case kind < 9:
		if _, err := f.WriteAt(make([]byte, min(n-at, 4096)), at); err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("%s: zeros at %d of %d", name, at, n)
	default:
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		return name + ": removed"
	}
}

func firstDifference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range g {
		if i >= len(w) || g[i] != w[i] {
			return fmt.Sprintf("line %d of %d (want %d): %q, want %q", i, len(g), len(w), g[i], append(w, "nothing")[min(i, len(w))])
		}
	}
	return fmt.Sprintf("%d lines, want %d", len(g), len(w))
}
