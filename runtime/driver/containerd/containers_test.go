package containerd_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/pintle-dev/pintle/runtime/logs"
	driver "github.com/pintle-dev/pintle/sdk/runtimedriver"
)

func runToTheEnd(h *host) {
	s := h.sandbox(nil)
	id := h.start(s, driver.ContainerConfig{Command: []string{"sh", "-c", "echo out; echo err >&2; exit 3"}, Attempt: 4})
	c := h.wait(id)
	if c.ExitCode != 3 || c.Attempt != 4 || c.StartedAt.IsZero() || c.FinishedAt.Before(c.StartedAt) || c.PodUID != s.UID {
		h.Errorf("status is %+v", c)
	}
	var out, errOut bytes.Buffer
	if err := logs.Read(context.Background(), c.LogPath, logs.Options{}, nil, &out, &errOut); err != nil {
		h.Fatal(err)
	}
	if out.String() != "out\n" || errOut.String() != "err\n" {
		h.Errorf("logs are %q and %q", out.String(), errOut.String())
	}
	many := h.run(s, "seq 1 20000", driver.ContainerConfig{Name: "many"})
	if n := strings.Count(many, "\n"); n != 20000 || !strings.HasSuffix(many, "\n20000\n") {
		h.Errorf("%d of 20000 lines in the log", n)
	}
}

func processEnvironment(h *host) {
	s := h.sandbox(nil)
	file := filepath.Join(h.dir, "mounted")
	os.WriteFile(file, []byte("hello"), 0o644)
	out := h.run(s, `echo "$FROM_IMAGE $A $HOSTNAME"; pwd; hostname; cat /m; echo x >/m; cat /proc/self/oom_score_adj`, driver.ContainerConfig{
		Env: []string{"A=1", "A=2"}, WorkingDir: "/tmp", Mounts: []driver.Mount{{HostPath: file, ContainerPath: "/m", ReadOnly: true}},
		Resources: driver.Resources{OOMScoreAdj: -997},
	})
	for _, want := range []string{"yes 2", "/tmp\n", "environment-of-a-process\n", "hello", "Read-only file system"} {
		if !strings.Contains(out, want) {
			h.Errorf("%q is not in\n%s", want, out)
		}
	}
}

func security(h *host) {
	s := h.sandbox(nil)
	uid, gid := int64(1000), int64(77)
	for _, c := range []struct {
		name, script, want string
		sec                driver.Security
	}{
		{"image's user", "id -u", "0\n", driver.Security{}},
		{"user from passwd", "id -u; id -g; id -G", "1000\n1001\n1001 2000\n", driver.Security{RunAsUser: &uid}},
		{"user and group", "id -u; id -g; id -G", "1000\n77\n77 5\n", driver.Security{RunAsUser: &uid, RunAsGroup: &gid, SupplementalGroups: []int64{5}}},
		{"read-only root", "touch /x 2>&1", "Read-only", driver.Security{ReadOnlyRootFS: true}},
		{"no capabilities", "grep CapEff /proc/self/status", "0000000000000000", driver.Security{DropCaps: []string{"ALL"}}},
		{"one capability", "grep CapEff /proc/self/status", "0000000000000400", driver.Security{DropCaps: []string{"ALL"}, AddCaps: []string{"NET_BIND_SERVICE"}}},
		{"no new privileges", "grep NoNewPrivs /proc/self/status", "NoNewPrivs:\t1", driver.Security{}},
		{"seccomp", "grep Seccomp: /proc/self/status", "Seccomp:\t2", driver.Security{Seccomp: "RuntimeDefault"}},
		{"privileged", "ls /dev | grep -c . ; touch /proc/sys/kernel/hostname && echo ok", "ok", driver.Security{Privileged: true}},
		{"masked", "cat /proc/kcore | head -c 1 | grep -c .; touch /proc/sys/kernel/hostname 2>&1", "Read-only", driver.Security{}},
	} {
		c.script = strings.ReplaceAll(c.script, "grep", "busybox grep")
		if out := h.run(s, c.script, driver.ContainerConfig{Name: "c" + strings.ReplaceAll(c.name, " ", ""), Security: c.sec}); !strings.Contains(out, c.want) {
			h.Errorf("%s: %q is not in\n%s", c.name, c.want, out)
		}
	}
	_, err := h.d.CreateContainer(context.Background(), s.ID, driver.ContainerConfig{Name: "root", Image: image, Command: []string{"true"}, Security: driver.Security{RunAsNonRoot: true}})
	if err == nil || !strings.Contains(err.Error(), "runAsNonRoot") {
		h.Errorf("a root process under runAsNonRoot gave %v", err)
	}
}

func sharedNamespaces(h *host) {
	script := `for n in net ipc uts pid; do readlink /proc/self/ns/$n; done`
	own := func(mod func(*driver.SandboxConfig)) (a, b []string) {
		s := h.sandbox(mod)
		if !s.Ready {
			h.Errorf("the sandbox is not ready: %+v", s)
		}
		a = strings.Fields(h.run(s, script, driver.ContainerConfig{Name: "a"}))
		b = strings.Fields(h.run(s, script, driver.ContainerConfig{Name: "b"}))
		if len(a) != 4 || len(b) != 4 {
			h.Fatalf("namespaces are %v and %v", a, b)
		}
		return a, b
	}
	var mine []string
	for _, k := range []string{"net", "ipc", "uts", "pid"} {
		l, _ := os.Readlink("/proc/self/ns/" + k)
		mine = append(mine, l)
	}
	a, b := own(nil)
	for i := range 3 {
		if a[i] != b[i] || a[i] == mine[i] {
			h.Errorf("namespaces %v and %v of a pod, %v of the host", a, b, mine)
		}
	}
	if a[3] == mine[3] { // the two did not live at once, so they may be equal
		h.Errorf("process namespace %v, host %v", a[3], mine[3])
	}
	a, b = own(func(c *driver.SandboxConfig) { c.SharePID = true })
	if a[3] != b[3] || a[3] == mine[3] {
		h.Errorf("shared process namespaces %v, %v, host %v", a[3], b[3], mine[3])
	}
	a, _ = own(func(c *driver.SandboxConfig) { c.HostNetwork, c.HostPID, c.HostIPC = true, true, true })
	for i := range a {
		if a[i] != mine[i] {
			h.Errorf("host namespaces %v, host %v", a, mine)
		}
	}
}

func stop(h *host) {
	s := h.sandbox(nil)
	polite := h.start(s, driver.ContainerConfig{Name: "polite", Command: []string{"sh", "-c", "trap 'exit 7' TERM; echo ready; while :; do sleep 0.05; done"}})
	deaf := h.start(s, driver.ContainerConfig{Name: "deaf", Command: []string{"sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.05; done"}})
	for _, id := range []string{polite, deaf} {
		h.waitLog(id, "ready")
	}
	ctx := context.Background()
	if err := h.d.StopContainer(ctx, polite, 20*time.Second); err != nil {
		h.Fatal(err)
	}
	if c := h.status(polite); c.State != driver.ContainerExited || c.ExitCode != 7 {
		h.Errorf("polite is %+v", c)
	}
	if err := h.d.StopContainer(ctx, deaf, 100*time.Millisecond); err != nil {
		h.Fatal(err)
	}
	if c := h.status(deaf); c.State != driver.ContainerExited || c.ExitCode != 137 {
		h.Errorf("deaf is %+v", c)
	}
	if err := h.d.StopContainer(ctx, deaf, time.Second); err != nil {
		h.Errorf("stopping twice: %v", err)
	}
}

// waitLog waits until a container has written something.
func (h *host) waitLog(id, text string) {
	h.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	var seen bytes.Buffer
	w := writerFunc(func(p []byte) (int, error) {
		seen.Write(p)
		if strings.Contains(seen.String(), text) {
			cancel()
		}
		return len(p), nil
	})
	logs.Read(ctx, h.status(id).LogPath, logs.Options{Follow: true}, nil, w, w)
	if !strings.Contains(seen.String(), text) {
		h.Fatalf("%q did not come, only %q", text, seen.String())
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func limits(h *host) {
	s := h.sandbox(nil)
	id := h.start(s, driver.ContainerConfig{
		Command:   []string{"sh", "-c", "x=a; while :; do x=$x$x; done"},
		Resources: driver.Resources{MemoryBytes: 32 << 20, CPUShares: 512, CPUQuota: 50000, CPUPeriod: 100000, PidsLimit: 20, OOMScoreAdj: 1000},
	})
	if c := h.wait(id); c.ExitCode != 137 || !c.OOMKilled {
		h.Errorf("a greedy container ended as %+v", c)
	}
	id = h.start(s, driver.ContainerConfig{Name: "calm", Command: []string{"sleep", "1000"}, Resources: driver.Resources{MemoryBytes: 32 << 20}})
	st, err := h.d.ContainerStats(context.Background(), id)
	if err != nil || st.MemoryLimit != 32<<20 || st.Pids == 0 {
		h.Errorf("stats are %+v, %v", st, err)
	}
}
