// Package build builds Pintle as runs of robustness need it: from the sources as they are,
// with a few lines replaced through go build's -overlay. So the product has nothing in it
// that is for tests: a clock that can jump, logs that are cut after seconds instead of
// minutes, and mistakes, to see that they are found.
package build

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Edit replaces one text in a file by another. It must be there, and once.
type Edit struct {
	// Path below the root of the module, or of another Module that it requires. Of that one only
	// one file can be edited.
	Path, Old, New string
	Module         string
}

// Hasty cuts the log, takes snapshots and sends bookmarks so often that a run of seconds sees
// all of them.
var Hasty = []Edit{
	{Path: "core/store/config.go", Old: "cmp.Or(c.SnapshotInterval, 30*time.Second)", New: "cmp.Or(c.SnapshotInterval, 2*time.Second)"},
	{Path: "core/store/config.go", Old: "cmp.Or(c.SnapshotEntries, 4096)", New: "cmp.Or(c.SnapshotEntries, 128)"},
	{Path: "core/store/config.go", Old: "cmp.Or(c.TrailingEntries, 2048)", New: "cmp.Or(c.TrailingEntries, 64)"},
	{Path: "core/apiserver/watch.go", Old: "const bookmarkInterval = time.Minute", New: "const bookmarkInterval = 50 * time.Millisecond"},
}

// Program builds cmd of the module in root to path, with edits and, if clock is set, a clock
// that takes its offset from the file that the environment variable clock names.
func Program(ctx context.Context, root, cmd, path string, edits []Edit, clock string) error {
	root, err := filepath.Abs(root)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp(filepath.Dir(path), "overlay")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	replace := map[string]string{}
	var flags []string
	for i, e := range edits {
		if e.Module != "" {
			copied := filepath.Join(dir, fmt.Sprint("module", i))
			if err := e.copyModule(ctx, root, copied, dir); err != nil {
				return err
			}
			flags = []string{"-modfile", filepath.Join(dir, "go.mod")}
			b, err := os.ReadFile(filepath.Join(copied, e.Path))
			if err != nil {
				return err
			}
			edited, err := e.edit(b)
			if err != nil {
				return err
			}
			if err := os.WriteFile(filepath.Join(copied, e.Path), edited, 0o600); err != nil {
				return err
			}
		} else if err := e.apply(root, dir, replace); err != nil {
			return err
		}
	}
	if clock != "" {
		if err := addClock(ctx, dir, clock, replace); err != nil {
			return err
		}
	}
	overlay := filepath.Join(dir, "overlay.json")
	b, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return err
	}
	if err := os.WriteFile(overlay, b, 0o600); err != nil {
		return err
	}
	build := exec.CommandContext(ctx, "go", append(append([]string{"build", "-trimpath", "-ldflags", "-s -w", "-overlay", overlay, "-o", path}, flags...), cmd)...)
	build.Dir, build.Env = root, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("building %s: %w\n%s", cmd, err, out)
	}
	return nil
}

// apply writes the edited file to dir. Several edits of one file add up.
func (e Edit) apply(root, dir string, replace map[string]string) error {
	source := filepath.Join(root, e.Path)
	from, edited := replace[source]
	if !edited {
		from = source
	}
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if b, err = e.edit(b); err != nil {
		return err
	}
	to := filepath.Join(dir, strings.ReplaceAll(e.Path, "/", "_"))
	replace[source] = to
	return os.WriteFile(to, b, 0o600)
}

func (e Edit) edit(b []byte) ([]byte, error) {
	if n := strings.Count(string(b), e.Old); n != 1 {
		return nil, fmt.Errorf("%s has %d times, not once: %s\nThe source has changed; bring the edit up to date", e.Path, n, e.Old)
	}
	return []byte(strings.Replace(string(b), e.Old, e.New, 1)), nil
}

// copyModule copies a required module, and a go.mod that has the copy in its place to dir:
// what is in the module cache can't be replaced by an overlay.
func (e Edit) copyModule(ctx context.Context, root, to, dir string) error {
	list := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", e.Module)
	list.Dir = root
	b, err := list.Output()
	if err != nil {
		return fmt.Errorf("module %s: %w", e.Module, err)
	}
	if err := os.CopyFS(to, os.DirFS(strings.TrimSpace(string(b)))); err != nil {
		return err
	}
	err = filepath.WalkDir(to, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		return os.Chmod(path, 0o600) // The cache is not writable.
	})
	if err != nil {
		return err
	}
	for _, name := range []string{"go.mod", "go.sum"} {
		b, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			return err
		}
	}
	edit := exec.CommandContext(ctx, "go", "mod", "edit", "-replace", e.Module+"="+to, filepath.Join(dir, "go.mod"))
	if out, err := edit.CombinedOutput(); err != nil {
		return fmt.Errorf("go mod edit: %w: %s", err, out)
	}
	return nil
}

// What is added to Go's package time.
const clockSource = `package time

import (
	"syscall"
	"unsafe"
)

var wallOffset = new(int64)

func init() {
	path, ok := syscall.Getenv("CLOCK")
	if !ok {
		return
	}
	fd, err := syscall.Open(path, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		panic("CLOCK: " + err.Error())
	}
	b, err := syscall.Mmap(fd, 0, 8, syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		panic("CLOCK: " + err.Error())
	}
	wallOffset = (*int64)(unsafe.Pointer(&b[0]))
}

func shiftWall(sec int64, nsec int32) (int64, int32) {
	offset := *wallOffset
	sec, n := sec+offset/1e9, int64(nsec)+offset%1e9
	if n < 0 {
		sec, n = sec-1, n+1e9
	} else if n >= 1e9 {
		sec, n = sec+1, n-1e9
	}
	return sec, int32(n)
}
`

// addClock lets time.Now add an offset to the wall clock. What measures durations is left
// alone, as on a machine whose clock is set.
func addClock(ctx context.Context, dir, env string, replace map[string]string) error {
	root, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	if err != nil {
		return fmt.Errorf("go env GOROOT: %w", err)
	}
	const call = "sec, nsec, mono := runtimeNow()"
	source := strings.TrimSpace(string(root))
	if err := (Edit{Path: "src/time/time.go", Old: call, New: call + "\n\tsec, nsec = shiftWall(sec, nsec)"}).apply(source, dir, replace); err != nil {
		return err
	}
	added := filepath.Join(dir, "offset.go")
	replace[filepath.Join(source, "src/time/zz_offset.go")] = added
	return errors.Join(os.WriteFile(added, []byte(strings.ReplaceAll(clockSource, "CLOCK", env)), 0o600))
}
