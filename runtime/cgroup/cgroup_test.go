package cgroup

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestEnsureAndRemove(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("control groups need root")
	}
	root := fmt.Sprintf("/pintle-cgroup-test-%d", os.Getpid())
	if err := Ensure(root, Limits{}); err != nil {
		t.Skipf("this machine does not let us make control groups: %v", err)
	}
	defer Remove(root)
	pod := root + "/burstable/pod1"
	for _, shares := range []uint64{512, 1024} { // the second call updates
		if err := Ensure(pod, Limits{CPUShares: shares, CPUQuota: 50000, CPUPeriod: 100000, MemoryBytes: 64 << 20, Pids: 50}); err != nil {
			t.Fatal(err)
		}
	}
	want := map[string]string{"memory/" + pod + "/memory.limit_in_bytes": "67108864", "cpu/" + pod + "/cpu.shares": "1024", "pids/" + pod + "/pids.max": "50"}
	if V2() {
		want = map[string]string{pod + "/memory.max": "67108864", pod + "/pids.max": "50"}
	}
	for file, v := range want {
		b, err := os.ReadFile(filepath.Join(Mount, file))
		if err != nil {
			t.Error(err)
		} else if strings.TrimSpace(string(b)) != v {
			t.Errorf("%s is %s, want %s", file, b, v)
		}
	}

	sleep := exec.Command("sleep", "100")
	if err := sleep.Start(); err != nil {
		t.Fatal(err)
	}
	controllers := []string{"devices", "memory"}
	if V2() {
		controllers = []string{""}
	}
	for _, c := range controllers {
		f := filepath.Join(Mount, c, pod, "cgroup.procs")
		os.MkdirAll(filepath.Dir(f), 0o755)
		os.WriteFile(f, []byte(fmt.Sprint(sleep.Process.Pid)), 0)
	}
	if pids, err := Procs(root); err != nil || !slices.Contains(pids, sleep.Process.Pid) {
		t.Errorf("Procs gave %v, %v, want %d in it", pids, err, sleep.Process.Pid)
	}
	sleep.Process.Kill()
	sleep.Wait()
	if err := Remove(root); err != nil {
		t.Fatal(err)
	}
	for _, top := range tops() {
		if _, err := os.Stat(filepath.Join(top, root)); err == nil {
			t.Errorf("%s is still there", filepath.Join(top, root))
		}
	}
	if err := Remove(root); err != nil {
		t.Errorf("removing a second time: %v", err)
	}
}

func TestRemoveRefusesTheRoot(t *testing.T) {
	for _, p := range []string{"", "/", "//"} {
		if Remove(p) == nil {
			t.Errorf("Remove(%q) did not refuse", p)
		}
	}
}
