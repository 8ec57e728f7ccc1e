package containerd_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/moby/sys/mountinfo"

	"github.com/pintle-dev/pintle/runtime/cgroup"
	"github.com/pintle-dev/pintle/runtime/driver"
	"github.com/pintle-dev/pintle/runtime/driver/containerd"
	"github.com/pintle-dev/pintle/runtime/driver/containerd/daemon"
	"github.com/pintle-dev/pintle/runtime/internal/testimage"
	"github.com/pintle-dev/pintle/runtime/logs"
)

const image = "docker.io/library/busybox:test"

// host is one containerd for all tests of the package.
type host struct {
	*testing.T
	dir    string
	daemon daemon.Config
	cfg    containerd.Config
	d      *containerd.Driver
	cgroup string
}

func (h *host) open() {
	h.Helper()
	d, err := containerd.New(context.Background(), h.cfg)
	if err != nil {
		h.Fatal(err)
	}
	h.d = d
}

// TestDriver is one test with parts, so that they share a containerd.
func TestDriver(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("containers need root")
	}
	for _, bin := range []string{"containerd", "runc"} {
		if _, err := exec.LookPath(bin); err != nil {
			t.Skipf("%s is not installed", bin)
		}
	}
	busybox := testimage.Busybox(t)
	dir, err := os.MkdirTemp("", "pintle-driver-")
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	h := &host{T: t, dir: dir, daemon: daemon.Config{Dir: filepath.Join(dir, "containerd")}, cgroup: fmt.Sprintf("/pintle-driver-test-%d", os.Getpid())}
	t.Cleanup(func() { os.RemoveAll(dir) })
	dm, err := daemon.Ensure(ctx, h.daemon)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := daemon.Stop(ctx, h.daemon); err != nil {
			t.Error(err)
		}
		cgroup.Remove(h.cgroup)
		if left, _ := mountinfo.GetMounts(mountinfo.PrefixFilter(dir)); len(left) > 0 {
			t.Errorf("mounts are left: %v", left[0].Mountpoint)
		}
		if _, err := os.Stat(h.daemon.Dir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the daemon's directory is left: %v", err)
		}
		if gone := syscall.Kill(dm.PID, 0); gone == nil {
			t.Errorf("containerd (process %d) still runs", dm.PID)
		}
	})
	again, err := daemon.Ensure(ctx, h.daemon)
	if err != nil || again.PID != dm.PID || again.Started {
		t.Errorf("a second Ensure gave %+v, %v, want the running process %d", again, err, dm.PID)
	}
	h.cfg = containerd.Config{Address: dm.Address, Dir: filepath.Join(dir, "pods"), RuncRoot: dm.RuncRoot, Pause: []string{"/bin/busybox", "sleep", "100000"}}
	h.open()
	t.Cleanup(func() {
		if err := h.d.Teardown(ctx, true); err != nil {
			t.Error(err)
		}
		h.d.Close()
	})
	got, err := h.d.ImportImages(ctx, testimage.Archive(t, busybox, image))
	if err != nil || len(got) != 1 || got[0].RepoTags[0] != image {
		t.Fatalf("import gave %+v, %v", got, err)
	}

	part := func(name string, f func(h *host)) {
		t.Run(name, func(t *testing.T) { c := *h; c.T = t; f(&c); h.d = c.d })
	}
	part("run to the end", runToTheEnd)
	part("environment of a process", processEnvironment)
	part("security", security)
	part("shared namespaces", sharedNamespaces)
	part("stop", stop)
	part("limits", limits)
	part("exec", execIn)
	part("attach", attach)
	part("port forward", portForward)
	part("restart of the agent", restartOfTheAgent)
	part("pull", func(h *host) { pull(h, busybox) })
	part("errors", errorsOfCreation)
}

func (h *host) sandbox(mod func(*driver.SandboxConfig)) driver.Sandbox {
	h.Helper()
	n := strings.ReplaceAll(strings.ToLower(filepath.Base(h.Name())), "_", "-")
	cfg := driver.SandboxConfig{ID: fmt.Sprintf("%s-%d", n, time.Now().UnixNano()), Namespace: "default", Name: n, UID: n, Hostname: n, CgroupParent: h.cgroup + "/" + n}
	if mod != nil {
		mod(&cfg)
	}
	s, err := h.d.RunSandbox(context.Background(), cfg)
	if err != nil {
		h.Fatal(err)
	}
	h.Cleanup(func() {
		if err := h.d.RemoveSandbox(context.Background(), s.ID); err != nil {
			h.Error(err)
		}
	})
	return s
}

func (h *host) start(s driver.Sandbox, cfg driver.ContainerConfig) string {
	h.Helper()
	if cfg.Name == "" {
		cfg.Name = "main"
	}
	cfg.Image = image
	cfg.LogPath = filepath.Join(h.dir, s.ID+"-"+cfg.Name+".log")
	id, err := h.d.CreateContainer(context.Background(), s.ID, cfg)
	if err != nil {
		h.Fatal(err)
	}
	if err := h.d.StartContainer(context.Background(), id); err != nil {
		h.Fatal(err)
	}
	return id
}

func (h *host) status(id string) driver.Container {
	h.Helper()
	all, err := h.d.ListContainers(context.Background())
	if err != nil {
		h.Fatal(err)
	}
	for _, c := range all {
		if c.ID == id {
			return c
		}
	}
	h.Fatalf("no container %s", id)
	return driver.Container{}
}

// wait waits for a container to end.
func (h *host) wait(id string) driver.Container {
	h.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	events, err := h.d.Events(ctx)
	if err != nil {
		h.Fatal(err)
	}
	for {
		if c := h.status(id); c.State == driver.ContainerExited {
			return c
		}
		if _, ok := <-events; !ok {
			h.Fatalf("container %s did not end", id)
		}
	}
}

func (h *host) log(id string) string {
	h.Helper()
	var b bytes.Buffer
	if err := logs.Read(context.Background(), h.status(id).LogPath, logs.Options{}, nil, &b, &b); err != nil {
		h.Fatal(err)
	}
	return b.String()
}

// run runs a shell script to its end and returns its output.
func (h *host) run(s driver.Sandbox, script string, cfg driver.ContainerConfig) string {
	h.Helper()
	cfg.Command = []string{"/bin/busybox", "sh", "-c", script}
	id := h.start(s, cfg)
	h.wait(id)
	out := h.log(id)
	if err := h.d.RemoveContainer(context.Background(), id); err != nil {
		h.Error(err)
	}
	return out
}

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

func execIn(h *host) {
	s := h.sandbox(nil)
	id := h.start(s, driver.ContainerConfig{Command: []string{"sleep", "1000"}, Env: []string{"A=1"}})
	ctx := context.Background()
	var out, errOut bytes.Buffer
	code, err := h.d.Exec(ctx, id, []string{"sh", "-c", "cat; echo $A; echo e >&2; exit 5"}, driver.Stdio{In: strings.NewReader("input\n"), Out: &out, Err: &errOut})
	if err != nil || code != 5 || out.String() != "input\n1\n" || errOut.String() != "e\n" {
		h.Errorf("exec gave %d, %v, %q, %q", code, err, out.String(), errOut.String())
	}
	out.Reset()
	resize := make(chan driver.TerminalSize, 1)
	resize <- driver.TerminalSize{Width: 91, Height: 17}
	code, err = h.d.Exec(ctx, id, []string{"sh", "-c", "test -t 0 && echo terminal; for i in $(seq 100); do stty size; sleep 0.02; done | busybox grep -m1 '17 91'"}, driver.Stdio{Out: &out, TTY: true, Resize: resize})
	if err != nil || code != 0 || !strings.Contains(out.String(), "terminal") || !strings.Contains(out.String(), "17 91") {
		h.Errorf("exec on a terminal gave %d, %v, %q", code, err, out.String())
	}
	if _, err := h.d.Exec(ctx, id, []string{"/nothing"}, driver.Stdio{}); err == nil {
		h.Error("a command that is not there gave no error")
	}
	short, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
	defer cancel()
	if _, err := h.d.Exec(short, id, []string{"sleep", "1000"}, driver.Stdio{}); !errors.Is(err, context.DeadlineExceeded) {
		h.Errorf("an exec over its time gave %v", err)
	}
	out.Reset()
	if h.d.Exec(ctx, id, []string{"ps"}, driver.Stdio{Out: &out}); strings.Count(out.String(), "sleep") != 1 {
		h.Errorf("processes after a cancelled exec:\n%s", out.String())
	}
}

func attach(h *host) {
	s := h.sandbox(nil)
	id := h.start(s, driver.ContainerConfig{Command: []string{"sh", "-c", "while read l; do echo got $l; done; echo end"}, Stdin: true, StdinOnce: true})
	var out bytes.Buffer
	if err := h.d.Attach(context.Background(), id, driver.Stdio{In: strings.NewReader("a\nb\n"), Out: &out}); err != nil {
		h.Fatal(err)
	}
	if out.String() != "got a\ngot b\nend\n" {
		h.Errorf("attached to %q", out.String())
	}
	if c := h.wait(id); c.ExitCode != 0 {
		h.Errorf("ended as %+v", c)
	}
}

func portForward(h *host) {
	s := h.sandbox(nil)
	id := h.start(s, driver.ContainerConfig{Command: []string{"sh", "-c", "echo ready; nc -l -p 8080 -e cat"}})
	h.waitLog(id, "ready")
	a, b := net.Pipe()
	result := make(chan error, 1)
	dial := func() { result <- h.d.PortForward(context.Background(), s.ID, 8080, b) }
	go dial()
	// nc may not listen yet at its first word: the refusal is the signal to try again.
	go a.Write([]byte("ping"))
	buf := make([]byte, 4)
	for {
		if _, err := io.ReadFull(a, buf); err == nil {
			break
		}
		if err := <-result; err == nil || !strings.Contains(err.Error(), "refused") {
			h.Fatalf("forwarding ended with %v", err)
		}
		a, b = net.Pipe()
		go dial()
		go a.Write([]byte("ping"))
	}
	if string(buf) != "ping" {
		h.Errorf("got %q back", buf)
	}
	a.Close()
	if err := <-result; err != nil {
		h.Error(err)
	}
}

// What runs goes on while the driver is away, and what ends in the meantime is known after.
func restartOfTheAgent(h *host) {
	s := h.sandbox(nil)
	runs := h.start(s, driver.ContainerConfig{Name: "runs", Command: []string{"sh", "-c", "i=0; while :; do i=$((i+1)); echo line $i; sleep 0.02; done"}})
	ends := h.start(s, driver.ContainerConfig{Name: "ends", Command: []string{"sh", "-c", "trap 'exit 9' TERM; echo ready; while :; do sleep 0.02; done"}})
	h.waitLog(ends, "ready")
	h.waitLog(runs, "line 3\n")
	pid, endsPID := h.status(runs).PID, h.status(ends).PID
	if err := h.d.Close(); err != nil {
		h.Fatal(err)
	}
	if err := syscall.Kill(endsPID, syscall.SIGTERM); err != nil {
		h.Fatal(err)
	}
	h.open()
	if c := h.wait(ends); c.ExitCode != 9 {
		h.Errorf("the one that ended is %+v", c)
	}
	if c := h.status(runs); c.State != driver.ContainerRunning || c.PID != pid || syscall.Kill(pid, 0) != nil {
		h.Errorf("the one that runs is %+v, was process %d", c, pid)
	}
	n := strings.Count(h.log(runs), "\n") + 20
	h.waitLog(runs, fmt.Sprintf("line %d\n", n))
	for i, l := range strings.Split(strings.TrimSpace(h.log(runs)), "\n") {
		if l != fmt.Sprintf("line %d", i+1) {
			h.Fatalf("line %d of the log is %q", i+1, l)
		}
	}
	list, _ := h.d.ListSandboxes(context.Background())
	for _, sb := range list {
		if sb.ID == s.ID && !sb.Ready {
			h.Error("the sandbox is not ready any more")
		}
	}
}

func pull(h *host, busybox interface{}) {
	srv := httptest.NewServer(registry.New())
	defer srv.Close()
	ref := strings.TrimPrefix(srv.URL, "http://") + "/team/web:v1"
	r, err := name.ParseReference(ref)
	if err != nil {
		h.Fatal(err)
	}
	if err := remote.Write(r, testimage.Busybox(h.T)); err != nil {
		h.Fatal(err)
	}
	ctx := context.Background()
	img, err := h.d.PullImage(ctx, ref, nil)
	if err != nil || img.RepoTags[0] != ref || len(img.RepoDigests) != 1 {
		h.Fatalf("pull gave %+v, %v", img, err)
	}
	if byID, err := h.d.ImageStatus(ctx, img.ID); err != nil || byID.ID != img.ID {
		h.Errorf("by id there is %+v, %v", byID, err)
	}
	if _, err := h.d.PullImage(ctx, strings.Replace(ref, ":v1", ":v2", 1), nil); err == nil || !strings.Contains(err.Error(), "not found") {
		h.Errorf("an image that does not exist gave %v", err)
	}
}

func errorsOfCreation(h *host) {
	ctx := context.Background()
	s := h.sandbox(nil)
	for _, c := range []struct {
		name string
		cfg  driver.ContainerConfig
		want string
	}{
		{"no image", driver.ContainerConfig{Name: "a", Image: "docker.io/library/none:x"}, "not found"},
		{"bad reference", driver.ContainerConfig{Name: "a", Image: "UPPER"}, "invalid reference"},
		{"no command there", driver.ContainerConfig{Name: "a", Image: image, Command: []string{"/nope"}}, "/nope"},
	} {
		id, err := h.d.CreateContainer(ctx, s.ID, c.cfg)
		if err == nil {
			err = h.d.StartContainer(ctx, id)
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			h.Errorf("%s: %v, want %q in it", c.name, err, c.want)
		}
	}
	if _, err := h.d.CreateContainer(ctx, "nosuch", driver.ContainerConfig{Image: image}); !errors.Is(err, driver.ErrNotFound) {
		h.Errorf("an unknown sandbox gave %v", err)
	}
	entries, _ := os.ReadDir(filepath.Join(h.cfg.Dir, "containers"))
	if len(entries) > 1 {
		h.Errorf("%d containers are left of failed creations", len(entries))
	}
}
