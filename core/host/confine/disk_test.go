package confine_test

import (
	"bufio"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pintle-dev/pintle/core/host/confine"
)

func TestDiskUsage(t *testing.T) {
	const enough = 64 << 20
	for name, c := range map[string]struct {
		make func(t *testing.T, dir string)
		min  int64
		max  int64
	}{
		"empty":   {func(*testing.T, string) {}, 0, 0},
		"missing": {func(t *testing.T, dir string) { must(t, os.Remove(dir)) }, 0, 0},
		"content": {func(t *testing.T, dir string) {
			must(t, os.WriteFile(filepath.Join(dir, "f"), make([]byte, 3<<20), 0o600))
		}, 3 << 20, 3<<20 + 64<<10},
		"many small ones": {func(t *testing.T, dir string) {
			for i := range 500 {
				must(t, os.WriteFile(filepath.Join(dir, strings.Repeat("n", 100)+string(rune('a'+i%26))+string(rune('a'+i/26))), nil, 0o600))
			}
		}, 500 * 4096, 500 * 4096},
		"a hole": {func(t *testing.T, dir string) {
			f, err := os.Create(filepath.Join(dir, "f"))
			must(t, err, f.Truncate(1<<40), f.Close())
		}, 4096, 4096},
		"a link out of it": {func(t *testing.T, dir string) { must(t, os.Symlink("/usr", filepath.Join(dir, "l"))) }, 4096, 8192},
		"no end of directories": {func(t *testing.T, dir string) {
			fd, err := unix.Open(dir, unix.O_DIRECTORY, 0)
			must(t, err)
			for range 70 {
				must(t, unix.Mkdirat(fd, "d", 0o700))
				next, err := unix.Openat(fd, "d", unix.O_DIRECTORY, 0)
				must(t, err, unix.Close(fd))
				fd = next
			}
			must(t, unix.Close(fd))
		}, enough + 1, enough + 1},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			c.make(t, dir)
			n, err := confine.DiskUsage([]string{dir}, enough)
			if err != nil || n < c.min || n > c.max {
				t.Errorf("%d bytes (%v), not between %d and %d", n, err, c.min, c.max)
			}
		})
	}
}

func TestDiskOfAGuest(t *testing.T) {
	needsRoot(t)
	m := newMachine(t, confine.Range{})
	g := m.guest()
	g.Limits = confine.Limits{MemoryBytes: 64 << 20, DiskBytes: 8 << 20}
	// No file is larger than all may be, and memory bounds the temporary directory.
	probe, said, err := m.run(t, g, "do", "fill:"+m.own+"/f")
	if limited := slices.Contains(probe.Report().Measures, confine.FileLimits); limited && err == nil && !strings.Contains(said, "file too large") {
		t.Errorf("%s", said)
	}
	must(t, os.Remove(m.own+"/f"))
	g.Limits.DiskBytes = 0
	got := m.did(t, g, "fill:/tmp/f")
	if !strings.Contains(got["fill:/tmp/f"], "no space left") {
		t.Errorf("%q", got)
	}
	cell, cmd := m.open(t, g, "do", "hold:"+m.own+"/held")
	in, err := cmd.StdinPipe()
	must(t, err)
	out, err := cmd.StdoutPipe()
	must(t, err, cell.Start(cmd))
	if line, err := bufio.NewReader(out).ReadString('\n'); !strings.HasPrefix(line, "held <nil>") {
		t.Fatal(line, err)
	}
	named, err := confine.DiskUsage([]string{m.own}, 1<<30)
	must(t, err)
	n, err := cell.Disk(1 << 30)
	if must(t, err); n < named+1<<20 {
		t.Errorf("%d bytes, of which %d have a name: the file that it holds is not seen", n, named)
	}
	must(t, in.Close())
	_ = cmd.Wait()
}
