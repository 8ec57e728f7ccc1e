package idle

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
)

// maxControlPlaneKiB is what the API server with its store, the scheduler and the controllers may
// take together. The design allows 90 MiB.
const maxControlPlaneKiB = 80 << 10

func TestMemoryOfTheControlPlane(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("how memory is counted is Linux's")
	}
	program := build(t, "../../cmd/pintle", "pintle")
	t.Parallel()
	dir, err := os.MkdirTemp("", "pintle-idle") // t.TempDir's paths are long for sockets
	if err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(dir, "data")
	t.Cleanup(func() {
		if out, err := exec.Command(program, "down", "--data-dir", data).CombinedOutput(); err != nil {
			t.Errorf("down: %v\n%s", err, out)
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	up := exec.Command(program, "up", "--data-dir", data, "--config", "controlplane", "--api.listen", free(t))
	if out, err := up.CombinedOutput(); err != nil {
		t.Fatalf("up: %v\n%s", err, out)
	}
	pid, err := os.ReadFile(filepath.Join(data, "run", "server.pid"))
	if err != nil {
		t.Fatal(err)
	}
	var procs []string
	err = wait.PollUntilContextTimeout(t.Context(), interval, time.Minute, true, func(context.Context) (bool, error) {
		procs = family(t, strings.TrimSpace(string(pid)))
		return len(procs) == 3, nil
	})
	if err != nil {
		t.Fatalf("processes %v, want a server and two plugins: %v", procs, err)
	}
	holds(t, maxControlPlaneKiB, procs...)
}

// free is an address that nobody listens at.
func free(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// family is a process and all that it has started.
func family(t *testing.T, pid string) []string {
	t.Helper()
	out := []string{"/proc/" + pid}
	tasks, err := filepath.Glob("/proc/" + pid + "/task/*/children")
	if err != nil {
		t.Fatal(err)
	}
	for _, task := range tasks {
		b, err := os.ReadFile(task)
		if err != nil {
			continue // a thread that has ended
		}
		for _, child := range strings.Fields(string(b)) {
			out = append(out, family(t, child)...)
		}
	}
	return out
}
