package idle

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"k8s.io/apimachinery/pkg/util/wait"
)

// memory of a process, in KiB: proportional where pages are shared.
type memory struct {
	total   int
	written int // by the process: heap, stacks, variables
	program int // pages of its files
}

func (m memory) String() string {
	return fmt.Sprintf("%.1f MiB, of which %.1f are written and %.1f of the program",
		float64(m.total)/1024, float64(m.written)/1024, float64(m.program)/1024)
}

// memoryOf adds up the memory of processes, each named by its directory in /proc.
func memoryOf(procs ...string) (memory, error) {
	var m memory
	for _, proc := range procs {
		f, err := os.Open(proc + "/smaps_rollup")
		if err != nil {
			return m, fmt.Errorf("memory of a process: %w", err)
		}
		fields := map[string]int{}
		s := bufio.NewScanner(f)
		for s.Scan() {
			name, rest, _ := strings.Cut(s.Text(), ":")
			var kib int
			if _, err := fmt.Sscan(rest, &kib); err == nil {
				fields[name] = kib
			}
		}
		f.Close()
		if s.Err() != nil || fields["Pss"] == 0 {
			return m, fmt.Errorf("%s/smaps_rollup has no Pss: %w", proc, s.Err())
		}
		m.total += fields["Pss"]
		m.written += fields["Pss_Anon"]
		m.program += fields["Pss_File"]
	}
	return m, nil
}

const (
	// interval between looks at processes.
	interval = 250 * time.Millisecond
	// looks are so many that they span a few of the health checks, renewals and the like for
	// which a process that is idle is awake.
	looks = int(20 * time.Second / interval)
)

// holds waits until processes stay within a bound: half of the time they have no more, and for
// moments, when something that they do from time to time has mapped parts of the program.
func holds(t *testing.T, maxKiB int, procs ...string) {
	t.Helper()
	var window []memory // the last looks, from when it was within the bound for the first time
	var last memory
	middle := func() memory {
		sorted := slices.SortedFunc(slices.Values(window), func(a, b memory) int { return a.total - b.total })
		return sorted[len(sorted)/2]
	}
	err := wait.PollUntilContextTimeout(t.Context(), interval, 2*time.Minute, true, func(context.Context) (bool, error) {
		now, err := memoryOf(procs...)
		if err != nil {
			return false, err
		}
		last = now
		if len(window) == 0 && now.total > maxKiB {
			return false, nil // it starts
		}
		if window = append(window, now); len(window) > looks {
			window = window[1:]
		}
		return len(window) == looks && middle().total <= maxKiB, nil
	})
	if len(window) == 0 {
		t.Fatalf("idle processes do not come down to %d MiB: %s: %v", maxKiB>>10, last, err)
	}
	most := slices.MaxFunc(window, func(a, b memory) int { return a.total - b.total })
	t.Logf("%s; for moments %s", middle(), most)
	if err != nil {
		t.Errorf("idle processes do not come down to %d MiB: %s: %v", maxKiB>>10, middle(), err)
	}
}

// build builds a program.
func build(t *testing.T, dir, name string) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), name)
	cmd := exec.Command("go", "build", "-trimpath", "-o", program, ".")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	uncache(t, program)
	return program
}

// uncache lets a program be read from the disk when it is started, as an installed one is after
// a start of the machine. What was just written is in memory in larger pieces, of which a kernel
// maps more than is used.
func uncache(t *testing.T, program string) {
	t.Helper()
	f, err := os.Open(program)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	if err := unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
		t.Logf("%s stays cached: %v", program, err)
	}
}
