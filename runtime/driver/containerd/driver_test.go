package containerd_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/moby/sys/mountinfo"

	"github.com/pintle-dev/pintle/runtime/cgroup"
	"github.com/pintle-dev/pintle/runtime/driver/containerd"
	"github.com/pintle-dev/pintle/runtime/driver/containerd/daemon"
	"github.com/pintle-dev/pintle/runtime/internal/testimage"
	"github.com/pintle-dev/pintle/runtime/logs"
	driver "github.com/pintle-dev/pintle/sdk/runtimedriver"
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
	part("end of containerd", endOfContainerd)
	part("pull", func(h *host) { pull(h, busybox) })
	part("contract", contract)
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
