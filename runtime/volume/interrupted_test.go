package volume

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"github.com/pintle-dev/pintle/runtime/downward"
	"github.com/pintle-dev/pintle/sdk/storage"
)

// Whatever happens between an agent's steps, and whenever it dies: a volume is mounted once for a
// pod that runs, and not at all when the pod has gone.
func TestMountsSurviveInterruptions(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("mounts need root")
	}
	dirs := 0
	base := t.TempDir()
	rapid.Check(t, func(rt *rapid.T) {
		dirs++
		dir := filepath.Join(base, fmt.Sprint(dirs))
		c := newCluster(t)
		c.bound("c", csi("h"))
		own := rapid.Bool().Draw(rt, "mounts itself")
		link, fail := c.mount, ""
		c.mount = func(r storage.MountVolumeRequest) error {
			if fail == "before" {
				return errors.New("before")
			}
			err := error(nil)
			if there, _ := mountinfo.Mounted(r.TargetPath); own && !there {
				err = unix.Mount("tmpfs", r.TargetPath, "tmpfs", 0, "size=1m")
			} else if !own {
				err = link(r)
			}
			if fail == "after" {
				return errors.Join(err, errors.New("after"))
			}
			return err
		}
		m := c.manager(t, dir)
		pod := newPod(claimed("data", "c", false))
		for range rapid.IntRange(1, 6).Draw(rt, "steps") {
			fail = rapid.SampledFrom([]string{"", "before", "after"}).Draw(rt, "fails")
			c.away = nil
			if rapid.Bool().Draw(rt, "away") {
				c.away = errors.New("away")
			}
			switch rapid.SampledFrom([]string{"set up", "tear down", "die"}).Draw(rt, "step") {
			case "set up":
				paths, err := m.Setup(t.Context(), pod, downward.Facts{})
				if err != nil {
					continue
				}
				if mounts, _ := mountinfo.GetMounts(mountinfo.SingleEntryFilter(paths["data"])); len(mounts) != 1 {
					rt.Fatalf("mounted %d times for the pod", len(mounts))
				}
			case "tear down":
				if err := m.Teardown(t.Context(), "uid"); err == nil && c.left(dir) != "" {
					rt.Fatal("after it was torn down: ", c.left(dir))
				}
			case "die":
				m = c.manager(t, dir)
			}
		}
		fail, c.away = "", nil
		if err := m.Teardown(t.Context(), "uid"); err != nil {
			rt.Fatal(err)
		}
		if left := c.left(dir); left != "" {
			rt.Fatal("at the end: ", left)
		}
	})
}

// left is what there is of mounts.
func (c *cluster) left(dir string) string {
	for _, d := range []string{c.dir, dir} {
		if mounts, err := mountinfo.GetMounts(mountinfo.PrefixFilter(d)); err != nil || len(mounts) > 0 {
			return fmt.Sprint(mounts, err)
		}
	}
	if places, _ := filepath.Glob(filepath.Join(c.dir, "mounts", "*")); len(places) > 0 {
		return fmt.Sprint(places)
	}
	if records, _ := filepath.Glob(filepath.Join(dir, "*", "claims", "*")); len(records) > 0 {
		return fmt.Sprint(records)
	}
	return ""
}
