// Package idle holds plugins to what they may cost when they have nothing to do.
package idle

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/pintle-dev/pintle/sdk/plugintest/cluster"
)

// maxKiB is what a plugin made with the SDK may take of memory of its own: what it has written,
// and its share of the pages of its program.
const maxKiB = 15 << 10

func TestMemoryOfAPlugin(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("how memory is counted is Linux's")
	}
	program := filepath.Join(t.TempDir(), "widget")
	build := exec.Command("go", "build", "-trimpath", "-o", program, ".")
	build.Dir = "../../sdk/examples/widget"
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	cluster.Start(t, cluster.Options{RBAC: true, Plugins: []cluster.Plugin{{Name: "widget", Command: []string{program}}}})
	pid := find(t, program)
	var last int
	err := wait.PollUntilContextTimeout(t.Context(), 200*time.Millisecond, 30*time.Second, true, func(context.Context) (bool, error) {
		kib, err := pss(pid)
		last = kib
		return kib <= maxKiB, err
	})
	t.Logf("%d KiB", last)
	if err != nil {
		t.Errorf("an idle plugin has %d KiB, at most %d are allowed: %v", last, maxKiB, err)
	}
}

// find returns the process of a program.
func find(t *testing.T, program string) string {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*/exe")
	if err != nil {
		t.Fatal(err)
	}
	for _, exe := range all {
		if target, err := os.Readlink(exe); err == nil && target == program {
			return filepath.Dir(exe)
		}
	}
	t.Fatalf("%s does not run", program)
	return ""
}

// pss is the proportional memory of a process in KiB.
func pss(proc string) (int, error) {
	f, err := os.Open(proc + "/smaps_rollup")
	if err != nil {
		return 0, fmt.Errorf("memory of the plugin: %w", err)
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if rest, ok := strings.CutPrefix(s.Text(), "Pss:"); ok {
			var kib int
			_, err := fmt.Sscan(rest, &kib)
			return kib, err
		}
	}
	return 0, fmt.Errorf("%s/smaps_rollup has no Pss", proc)
}
