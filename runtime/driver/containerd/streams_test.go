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
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/pintle-dev/pintle/runtime/driver/containerd/daemon"
	"github.com/pintle-dev/pintle/runtime/internal/testimage"
	"github.com/pintle-dev/pintle/sdk/plugin"
	"github.com/pintle-dev/pintle/sdk/plugintest"
	driver "github.com/pintle-dev/pintle/sdk/runtimedriver"
)

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

// contract holds the driver to what is asked of those that are plugins.
func contract(h *host) {
	srv := httptest.NewServer(registry.New())
	defer srv.Close()
	ref := strings.TrimPrefix(srv.URL, "http://") + "/team/contract:v1"
	r, err := name.ParseReference(ref)
	if err != nil {
		h.Fatal(err)
	}
	if err := remote.Write(r, testimage.Busybox(h.T)); err != nil {
		h.Fatal(err)
	}
	commands := plugintest.Containers{
		Image: ref, Sleep: []string{"sleep", "1000"}, Print: []string{"sh", "-c", "echo some words; exit 3"}, Printed: "some words",
		Copy: []string{"cat"}, Fail: []string{"sh", "-c", "exit 7"}, Cgroup: h.cgroup,
	}
	h.Run("direct", func(t *testing.T) { plugintest.ExploreRuntimeDriver(t, h.d, commands) })
	p, ok := plugintest.Start(h.T, asPlugin{h.d}).Client.RuntimeDriver()
	if !ok {
		h.Fatal("a plugin with a runtime driver does not offer one")
	}
	far, err := p.Open(h.Context(), plugin.Env{})
	if err != nil {
		h.Fatal(err)
	}
	h.Run("grpc", func(t *testing.T) { plugintest.ExploreRuntimeDriver(t, far, commands) })
}

// asPlugin is the driver as a plugin is one.
type asPlugin struct{ d driver.Driver }

func (asPlugin) Info() plugin.Info { return plugin.Info{Name: "containerd", Version: "1.0.0"} }

func (asPlugin) ConfigSchema() []byte { return nil }

func (asPlugin) Configure(context.Context, []byte) error { return nil }

func (p asPlugin) Open(context.Context, plugin.Env) (driver.Driver, error) { return p.d, nil }

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

// containerd may end: what runs under it goes on and can be reached when it is back.
func endOfContainerd(h *host) {
	s := h.sandbox(nil)
	id := h.start(s, driver.ContainerConfig{Command: []string{"sleep", "1000"}})
	ctx, cancel := context.WithCancel(context.Background())
	kept := make(chan struct{})
	go func() { daemon.Keep(ctx, h.daemon); close(kept) }()
	defer func() { cancel(); <-kept }()
	before, err := daemon.Ensure(ctx, h.daemon)
	if err != nil {
		h.Fatal(err)
	}
	if err := syscall.Kill(before.PID, syscall.SIGKILL); err != nil {
		h.Fatal(err)
	}
	deadline := time.Now().Add(20 * time.Second)
	for {
		code, err := h.d.Exec(ctx, id, []string{"true"}, driver.Stdio{})
		if err == nil && code == 0 {
			break
		}
		if time.Now().After(deadline) {
			h.Fatalf("containerd did not come back: %v", err)
		}
		time.Sleep(20 * time.Millisecond) // there is nothing to wait for but an answer
	}
	if c := h.status(id); c.State != driver.ContainerRunning {
		h.Errorf("the container is %+v", c)
	}
	if err := h.d.StopContainer(ctx, id, 0); err != nil {
		h.Error(err)
	}
}
