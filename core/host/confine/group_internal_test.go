package confine

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// unified is where the hierarchy of version 2 is on this machine, with or without controllers.
func unified(t *testing.T) string {
	t.Helper()
	for _, dir := range []string{cgroupMount, filepath.Join(cgroupMount, "unified")} {
		var st unix.Statfs_t
		if unix.Statfs(dir, &st) == nil && st.Type == unix.CGROUP2_SUPER_MAGIC {
			return dir
		}
	}
	t.Skip("no cgroup hierarchy of version 2")
	return ""
}

// A guest is in its group of version 2 before it runs, its descendants can't leave, and all of
// them end with the group.
func TestGroupOfVersion2(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	g := &group2{name: "test", dir: filepath.Join(unified(t), "pintle-group2-"+strconv.Itoa(os.Getpid()))}
	if err := os.Mkdir(g.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = removeTree(g.dir) })
	for _, filtered := range []bool{false, true} {
		c := &Cell{thread: newThread(), report: Report{UserID: uint32(os.Geteuid())}}
		var err error
		if c.mover, err = g.join(c.thread.tid); err != nil || c.mover == nil {
			t.Fatal("threads can't be moved", err)
		}
		if filtered {
			if err := c.thread.do(func() error {
				if err := noPrivileges(nil); err != nil {
					return err
				}
				return filterCalls(&c.guest)
			}); err != nil {
				t.Skip(err)
			}
		}
		cmd := exec.Command("/bin/sh", "-c", `cat /proc/self/cgroup; sleep 1000 & sleep 1000 & echo up; wait`)
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Start(cmd); err != nil {
			t.Fatal(err)
		}
		var lines []string
		for s := bufio.NewScanner(out); s.Scan() && s.Text() != "up"; {
			lines = append(lines, s.Text())
		}
		if !slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, "0::/pintle-group2-") }) {
			t.Errorf("its first act was in the groups\n%s", strings.Join(lines, "\n"))
		}
		if pids := g.processes(); len(pids) != 3 || !slices.Contains(pids, cmd.Process.Pid) {
			t.Errorf("processes %v, of which %d is the first", pids, cmd.Process.Pid)
		}
		killAll(g.dir)
		if err := cmd.Wait(); err == nil {
			t.Error("it was not killed")
		}
		c.thread.end()
	}
	if err := g.close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(g.dir); err == nil {
		t.Error("the group is left")
	}
}
