package catalogue_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/pintle-dev/pintle/core/catalogue"
	"github.com/pintle-dev/pintle/core/host"
)

// age makes everything in a cache older.
func age(t rapid.TB, dir string, by time.Duration) {
	t.Helper()
	for _, sub := range []string{"artifacts", "binaries", "blobs", "repositories", "tmp"} {
		files, err := os.ReadDir(filepath.Join(dir, sub))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			st, err := f.Info()
			if err != nil {
				t.Fatal(err)
			}
			at := st.ModTime().Add(-by)
			if err := os.Chtimes(filepath.Join(dir, sub, f.Name()), at, at); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func binaries(t rapid.TB, dir string) []string {
	t.Helper()
	files, err := os.ReadDir(filepath.Join(dir, "binaries"))
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, f := range files {
		out = append(out, f.Name())
	}
	return out
}

// TestCacheIsBounded: whatever is fetched and whenever, what is in use stays, what was just used
// stays, and the rest is within its bounds.
func TestCacheIsBounded(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	const versions, size = 6, 1000
	for v := range versions {
		dir := filepath.Join(root, fmt.Sprintf("1.%d.0", v))
		writePlugin(t, dir, fmt.Sprintf("1.%d.0", v), map[string][]byte{"plugin": append(elfFor("amd64", fmt.Sprint(v)), make([]byte, size)...)})
	}
	writePlugin(t, filepath.Join(root, "new"), "2.0.0", one("2.0.0"))
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp(root, "cache")
		if err != nil {
			rt.Fatal(err)
		}
		defer os.RemoveAll(dir)
		var inUse []string
		bound := rapid.IntRange(1, 4).Draw(rt, "bound")
		c := newCatalogue(t, catalogue.Config{
			Dir: dir, CacheBytes: int64(bound)*(size+100) + 1, CacheAge: 10 * time.Hour, InUse: func() []string { return inUse },
		})
		used := map[string]time.Duration{}
		for range rapid.IntRange(1, 6).Draw(rt, "steps") {
			v := rapid.IntRange(0, versions-1).Draw(rt, "version")
			a, err := c.Fetch(t.Context(), host.Source{Directory: filepath.Join(root, fmt.Sprintf("1.%d.0", v)), AllowUnsigned: true})
			if err != nil {
				rt.Fatal(err)
			}
			used[a.SHA256] = 0
			if rapid.Bool().Draw(rt, "use") {
				inUse = append(inUse, a.SHA256)
			} else if len(inUse) > 0 && rapid.Bool().Draw(rt, "stop") {
				inUse = inUse[1:]
			}
			by := time.Duration(rapid.IntRange(0, 12).Draw(rt, "hours")) * time.Hour
			age(rt, dir, by)
			for k := range used {
				used[k] += by
			}
		}
		// What is new tidies up, with all that was said before.
		a, err := c.Fetch(t.Context(), host.Source{Directory: filepath.Join(root, "new"), AllowUnsigned: true})
		if err != nil {
			rt.Fatal(err)
		}
		used[a.SHA256] = 0
		have := binaries(rt, dir)
		free := 0
		for _, sum := range have {
			switch {
			case slices.Contains(inUse, sum) || used[sum] <= time.Hour:
			case used[sum] > 10*time.Hour:
				rt.Errorf("%s was last used %s ago", sum, used[sum])
			default:
				free++
			}
		}
		if free > bound {
			rt.Errorf("%d binaries that nobody uses are kept, at most %d fit", free, bound)
		}
		for _, sum := range inUse {
			if !slices.Contains(have, sum) {
				rt.Errorf("%s is in use and was removed", sum)
			}
		}
		if !slices.Contains(have, a.SHA256) {
			rt.Error("what was just fetched was removed")
		}
	})
}

// TestLeftovers of a process that died while it wrote.
func TestLeftovers(t *testing.T) {
	dir := t.TempDir()
	c := newCatalogue(t, catalogue.Config{Dir: dir})
	fetch := func(version string) {
		t.Helper()
		source := plugin(t, version, one(version))
		if _, err := c.Fetch(t.Context(), host.Source{Directory: source, AllowUnsigned: true}); err != nil {
			t.Fatal(err)
		}
	}
	fetch("1.0.0")
	write(t, filepath.Join(dir, "tmp", "fetch-1"), []byte("half"))
	write(t, filepath.Join(dir, "artifacts", "junk.json"), []byte("{"))
	write(t, filepath.Join(dir, "blobs", "junk"), []byte("junk"))
	age(t, dir, 2*time.Hour)
	fetch("1.1.0")
	for _, path := range []string{"tmp/fetch-1", "artifacts/junk.json", "blobs/junk"} {
		if _, err := os.Stat(filepath.Join(dir, path)); err == nil {
			t.Errorf("%s is still there", path)
		}
	}
	if len(binaries(t, dir)) != 2 {
		t.Error("a binary that this process has fetched is gone")
	}
}
