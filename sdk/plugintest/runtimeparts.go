package plugintest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pintle-dev/pintle/sdk/runtimedriver"
)

// driverTest is one part of the suite.
type driverTest struct {
	*testing.T
	d    runtimedriver.Driver
	c    Containers
	logs string
	n    int
}

func newDriverTest(t *testing.T, d runtimedriver.Driver, c Containers) *driverTest {
	return &driverTest{T: t, d: d, c: c, logs: t.TempDir()}
}

func (t *driverTest) config() runtimedriver.SandboxConfig {
	t.n++
	id := fmt.Sprintf("plugintest-%d-%d", time.Now().UnixNano(), t.n)
	cfg := runtimedriver.SandboxConfig{
		ID: id, Namespace: "default", Name: "pod", UID: "uid-" + id, Attempt: 2, Hostname: "pod",
		LogDir: filepath.Join(t.logs, id), Labels: map[string]string{"app": "plugintest"},
	}
	if t.c.Cgroup != "" {
		cfg.CgroupParent = filepath.Join(t.c.Cgroup, id)
	}
	if err := os.MkdirAll(filepath.Join(cfg.LogDir, "main"), 0o755); err != nil {
		t.Fatal(err)
	}
	return cfg
}

// lasting makes a sandbox.
func (t *driverTest) lasting() runtimedriver.SandboxConfig {
	t.Helper()
	cfg := t.config()
	if _, err := t.d.RunSandbox(t.Context(), cfg); err != nil {
		t.Fatalf("run a sandbox: %v", err)
	}
	return cfg
}

// sandbox makes one that is removed with the test.
func (t *driverTest) sandbox() runtimedriver.SandboxConfig {
	t.Helper()
	cfg := t.lasting()
	t.Cleanup(func() {
		if err := t.d.RemoveSandbox(context.WithoutCancel(t.Context()), cfg.ID); err != nil {
			t.Errorf("remove the sandbox: %v", err)
		}
	})
	return cfg
}

func (t *driverTest) create(sandbox runtimedriver.SandboxConfig, command []string) string {
	t.Helper()
	if _, err := t.d.PullImage(t.Context(), t.c.Image, nil); err != nil {
		t.Fatalf("pull %s: %v", t.c.Image, err)
	}
	id, err := t.d.CreateContainer(t.Context(), sandbox.ID, runtimedriver.ContainerConfig{
		Name: "main", Attempt: 1, Image: t.c.Image, Command: command, Env: []string{"A=1"},
		LogPath: filepath.Join(sandbox.LogDir, "main", "1.log"), Labels: map[string]string{"part": "main"},
	})
	if err != nil {
		t.Fatalf("create a container: %v", err)
	}
	return id
}

func (t *driverTest) started(sandbox runtimedriver.SandboxConfig, command []string) string {
	t.Helper()
	id := t.create(sandbox, command)
	if err := t.d.StartContainer(t.Context(), id); err != nil {
		t.Fatalf("start the container: %v", err)
	}
	return id
}

// find returns a container as it is listed.
func (t *driverTest) find(id string) (runtimedriver.Container, bool) {
	t.Helper()
	list, err := t.d.ListContainers(t.Context())
	if err != nil {
		t.Fatalf("list containers: %v", err)
	}
	i := slices.IndexFunc(list, func(c runtimedriver.Container) bool { return c.ID == id })
	if i < 0 {
		return runtimedriver.Container{}, false
	}
	return list[i], true
}

func (t *driverTest) is(id string, state runtimedriver.ContainerState) runtimedriver.Container {
	t.Helper()
	c, ok := t.find(id)
	if !ok || c.State != state {
		t.Fatalf("the container is listed as %+v (listed: %t), want it %s", c, ok, state)
	}
	return c
}

// remains looks for what was run before the driver was opened again, and removes it.
func (t *driverTest) remains(sandbox runtimedriver.SandboxConfig, id string) {
	t.Helper()
	t.is(id, runtimedriver.ContainerRunning)
	if again, err := t.d.RunSandbox(t.Context(), sandbox); err != nil || again.ID != sandbox.ID || !again.Ready {
		t.Errorf("its sandbox is %+v, %v", again, err)
	}
	if err := t.d.StopContainer(t.Context(), id, 0); err != nil {
		t.Errorf("stop a container of the time before: %v", err)
	}
	t.is(id, runtimedriver.ContainerExited)
	if err := t.d.RemoveSandbox(t.Context(), sandbox.ID); err != nil {
		t.Errorf("remove a sandbox of the time before: %v", err)
	}
}

func (t *driverTest) version() {
	if v, err := t.d.Version(t.Context()); err != nil || !strings.Contains(v, "://") {
		t.Errorf("version %q, %v: must be such as NAME://1.2.3", v, err)
	}
}

func (t *driverTest) images() {
	ctx := t.Context()
	i, err := t.d.PullImage(ctx, t.c.Image, nil)
	if err != nil {
		t.Fatalf("pull: %v", err)
	}
	if i.ID == "" {
		t.Error("the image has no id")
	}
	for _, name := range []string{t.c.Image, i.ID} {
		if got, err := t.d.ImageStatus(ctx, name); err != nil || got.ID != i.ID {
			t.Errorf("status of %s: %+v, %v, want image %s", name, got, err, i.ID)
		}
	}
	list, err := t.d.ListImages(ctx)
	if err != nil || !slices.ContainsFunc(list, func(o runtimedriver.Image) bool { return o.ID == i.ID }) {
		t.Errorf("image %s is not listed: %d images, %v", i.ID, len(list), err)
	}
}

func (t *driverTest) sandboxes() {
	ctx, cfg := t.Context(), t.config()
	for range 2 {
		s, err := t.d.RunSandbox(ctx, cfg)
		if err != nil {
			t.Fatalf("run: %v", err)
		}
		if s.ID != cfg.ID || s.UID != cfg.UID || !s.Ready {
			t.Errorf("made %+v of %+v", s, cfg)
		}
	}
	listed := func() (found []runtimedriver.Sandbox) {
		t.Helper()
		list, err := t.d.ListSandboxes(ctx)
		if err != nil {
			t.Fatalf("list: %v", err)
		}
		for _, s := range list {
			if s.ID == cfg.ID {
				found = append(found, s)
			}
		}
		return found
	}
	found := listed()
	if len(found) != 1 {
		t.Fatalf("run twice it is listed %d times", len(found))
	}
	s := found[0]
	if s.Namespace != cfg.Namespace || s.Name != cfg.Name || s.UID != cfg.UID || s.Attempt != cfg.Attempt || s.Labels["app"] != "plugintest" || !s.Ready || s.CreatedAt.IsZero() {
		t.Errorf("listed as %+v of %+v", s, cfg)
	}
	for range 2 {
		if err := t.d.RemoveSandbox(ctx, cfg.ID); err != nil {
			t.Errorf("remove: %v", err)
		}
	}
	if left := listed(); len(left) > 0 {
		t.Errorf("removed it is listed as %+v", left)
	}
}

func (t *driverTest) life() {
	ctx := t.Context()
	events, err := t.d.Events(ctx)
	if err != nil {
		t.Fatalf("events: %v", err)
	}
	s := t.sandbox()
	id := t.create(s, t.c.Sleep)
	c := t.is(id, runtimedriver.ContainerCreated)
	if c.Name != "main" || c.SandboxID != s.ID || c.PodUID != s.UID || c.Attempt != 1 || c.Labels["part"] != "main" ||
		c.CreatedAt.IsZero() || c.LogPath != filepath.Join(s.LogDir, "main", "1.log") || c.Image == "" || c.ImageID == "" {
		t.Errorf("created it is listed as %+v", c)
	}
	if err := t.d.StartContainer(ctx, id); err != nil {
		t.Fatalf("start: %v", err)
	}
	if c := t.is(id, runtimedriver.ContainerRunning); c.StartedAt.IsZero() {
		t.Errorf("running it is listed as %+v", c)
	}
	t.event(events, id, runtimedriver.EventStarted)
	for range 2 {
		if err := t.d.StopContainer(ctx, id, time.Second); err != nil {
			t.Fatalf("stop: %v", err)
		}
	}
	c = t.is(id, runtimedriver.ContainerExited)
	if c.FinishedAt.IsZero() || c.FinishedAt.Before(c.StartedAt) || c.ExitCode == 0 && c.Error == "" {
		t.Errorf("stopped it is listed as %+v", c)
	}
	if e := t.event(events, id, runtimedriver.EventExited); e.ExitCode != c.ExitCode {
		t.Errorf("event %+v of the exit code %d", e, c.ExitCode)
	}
	for range 2 {
		if err := t.d.RemoveContainer(ctx, id); err != nil {
			t.Errorf("remove: %v", err)
		}
	}
	if c, there := t.find(id); there {
		t.Errorf("removed it is listed as %+v", c)
	}
}

// event waits for one of a container.
func (t *driverTest) event(events <-chan runtimedriver.Event, id string, kind runtimedriver.EventType) runtimedriver.Event {
	t.Helper()
	late := time.After(Patience)
	for {
		select {
		case e, ok := <-events:
			if !ok {
				t.Fatalf("the events ended before the container was %s", kind)
			}
			if e.ContainerID == id && e.Type == kind {
				return e
			}
		case <-late:
			t.Fatalf("no event says that the container was %s", kind)
		}
	}
}

func (t *driverTest) prints() {
	events, err := t.d.Events(t.Context())
	if err != nil {
		t.Fatalf("events: %v", err)
	}
	id := t.started(t.sandbox(), t.c.Print)
	if e := t.event(events, id, runtimedriver.EventExited); e.ExitCode != 3 {
		t.Errorf("it ended with %d, want 3", e.ExitCode)
	}
	c := t.is(id, runtimedriver.ContainerExited)
	if c.ExitCode != 3 {
		t.Errorf("it is listed with %d, want 3", c.ExitCode)
	}
	var line string
	soon(t.T, "the log is written", func() error {
		log, err := os.ReadFile(c.LogPath)
		if err != nil {
			return err
		}
		if line, _, _ = strings.Cut(string(log), "\n"); !strings.HasSuffix(string(log), "\n") {
			return fmt.Errorf("the log is %q", log)
		}
		return nil
	})
	at, rest, _ := strings.Cut(line, " ")
	if _, err := time.Parse(time.RFC3339Nano, at); err != nil || rest != "stdout F "+t.c.Printed {
		t.Errorf("the log's first line is %q, want TIME stdout F %s", line, t.c.Printed)
	}
}

// forwards is more than what streams keep on their way.
const forwards = 4 << 20

func (t *driverTest) copies() {
	id := t.started(t.sandbox(), t.c.Sleep)
	sent := make([]byte, forwards)
	for i := range sent {
		sent[i] = byte(i * i >> 7)
	}
	var out bytes.Buffer
	code, err := t.d.Exec(t.Context(), id, t.c.Copy, runtimedriver.Stdio{In: bytes.NewReader(sent), Out: &out, Err: io.Discard})
	if err != nil || code != 0 || !bytes.Equal(out.Bytes(), sent) {
		t.Errorf("exec gave %d, %v and %d of %d bytes", code, err, out.Len(), len(sent))
	}
	// Who cancels one need not end its input.
	in, feed := io.Pipe()
	defer func() { _ = feed.Close() }()
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		_, _ = feed.Write([]byte("x"))
		cancel()
	}()
	ended := make(chan error, 1)
	go func() {
		_, err := t.d.Exec(ctx, id, t.c.Copy, runtimedriver.Stdio{In: in, Out: io.Discard})
		ended <- err
	}()
	select {
	case err := <-ended:
		if err == nil {
			t.Error("an exec that was cancelled ended well")
		}
	case <-time.After(Patience):
		t.Error("an exec goes on after it was cancelled, as its input does")
	}
}

func (t *driverTest) fails() {
	id := t.started(t.sandbox(), t.c.Sleep)
	in, feed := io.Pipe() // does not end before the command
	defer func() { _ = feed.Close() }()
	if code, err := t.d.Exec(t.Context(), id, t.c.Fail, runtimedriver.Stdio{In: in, Out: io.Discard, Err: io.Discard}); err != nil || code != 7 {
		t.Errorf("exec gave %d, %v, want 7", code, err)
	}
}

func (t *driverTest) absent() {
	ctx := t.Context()
	const none = "plugintest-none"
	missing := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, runtimedriver.ErrNotFound) {
			t.Errorf("%s: %v, want ErrNotFound", what, err)
		}
	}
	_, err := t.d.CreateContainer(ctx, none, runtimedriver.ContainerConfig{Name: "main", Image: t.c.Image, Command: t.c.Sleep, LogPath: filepath.Join(t.logs, "0.log")})
	missing("a container in a sandbox that is not there", err)
	missing("start", t.d.StartContainer(ctx, none))
	_, err = t.d.ImageStatus(ctx, "registry.example/plugintest/none:1")
	missing("status of an image", err)
	_, err = t.d.Exec(ctx, none, []string{"true"}, runtimedriver.Stdio{Out: io.Discard})
	missing("exec", err)
	missing("attach", t.d.Attach(ctx, none, runtimedriver.Stdio{Out: io.Discard}))
	if err := t.d.StopContainer(ctx, none, time.Second); err != nil && !errors.Is(err, runtimedriver.ErrNotFound) {
		t.Errorf("stop: %v", err)
	}
}

func (t *driverTest) eventsEnd() {
	ctx, cancel := context.WithCancel(t.Context())
	events, err := t.d.Events(ctx)
	if err != nil {
		t.Fatalf("events: %v", err)
	}
	cancel()
	late := time.After(Patience)
	for {
		select {
		case _, ok := <-events:
			if !ok {
				return
			}
		case <-late:
			t.Fatal("the events go on after their context has ended")
		}
	}
}

func (t *driverTest) stats() {
	r, ok := t.d.(runtimedriver.StatsReader)
	if !ok {
		t.Skip("the driver measures nothing")
	}
	id := t.started(t.sandbox(), t.c.Sleep)
	st, err := r.ContainerStats(t.Context(), id)
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip("the driver measures nothing")
	}
	if err != nil || st.At.IsZero() {
		t.Errorf("statistics: %+v, %v", st, err)
	}
	if _, err := r.ContainerStats(t.Context(), "plugintest-none"); !errors.Is(err, runtimedriver.ErrNotFound) {
		t.Errorf("statistics of a container that is not there: %v, want ErrNotFound", err)
	}
}

func (t *driverTest) goes() {
	events, err := t.d.Events(t.Context())
	if err != nil {
		t.Fatalf("events: %v", err)
	}
	s := t.sandbox()
	id := t.started(s, t.c.Sleep)
	if err := t.d.RemoveSandbox(t.Context(), s.ID); err != nil {
		t.Fatalf("remove: %v", err)
	}
	if c, there := t.find(id); there {
		t.Errorf("a container of a sandbox that was removed is listed as %+v", c)
	}
	t.event(events, id, runtimedriver.EventExited)
}
