package host_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pintle-dev/pintle/core/host"
	"github.com/pintle-dev/pintle/sdk/plugin"
	"github.com/pintle-dev/pintle/sdk/runtimedriver"
)

const testLogs = "/var/log/pods"

// testDriver is a runtime driver with containers that do not change.
type testDriver struct {
	base
	runtimedriver.Driver // what is not here is not called
}

// Info implements plugin.Plugin.
func (d *testDriver) Info() plugin.Info {
	info := d.base.Info()
	info.Version = cmp.Or(os.Getenv("TEST_VERSION"), info.Version)
	return info
}

func (d *testDriver) Open(context.Context, plugin.Env) (runtimedriver.Driver, error) { return d, nil }

func (d *testDriver) Version(context.Context) (string, error) {
	return "test://" + d.Info().Version, nil
}

func (d *testDriver) ListContainers(context.Context) ([]runtimedriver.Container, error) {
	return []runtimedriver.Container{
		{ID: "a", State: runtimedriver.ContainerRunning, LogPath: filepath.Join(testLogs, "pod", "a.log")},
		{ID: "b", State: runtimedriver.ContainerExited, LogPath: "/etc/shadow"},
		{ID: "c", State: runtimedriver.ContainerExited, LogPath: testLogs + "/../../etc/shadow"},
	}, nil
}

func (*testDriver) ImageStatus(_ context.Context, ref string) (runtimedriver.Image, error) {
	return runtimedriver.Image{}, fmt.Errorf("image %s: %w", ref, runtimedriver.ErrNotFound)
}

func (d *testDriver) Exec(ctx context.Context, _ string, cmd []string, std runtimedriver.Stdio) (int, error) {
	if cmd[0] == "fall" {
		panic("the driver fell")
	}
	_, err := io.Copy(std.Out, std.In)
	return 0, errors.Join(err, ctx.Err())
}

func (*testDriver) Events(ctx context.Context) (<-chan runtimedriver.Event, error) {
	ch := make(chan runtimedriver.Event)
	context.AfterFunc(ctx, func() { close(ch) })
	return ch, nil
}

// A driver is the same to the agent wherever it runs, and its plugin is believed only so far.
func TestRuntimeDriverInEachPlacement(t *testing.T) {
	r := start(t, func(c *host.Config) { c.Node = "node-1" }, spec(t, "driver", "far"), spec(t, "network", "net"),
		host.Spec{Name: "near", Placement: host.Builtin, Builtin: &testDriver{base: base{name: "near"}}})
	for _, name := range []string{"far", "near"} {
		r.wait(t, name, healthy)
		d := r.RuntimeDriver(name, testLogs)
		if v, err := d.Version(r.ctx); err != nil || v != "test://1.2.3" {
			t.Errorf("%s: version %q, %v", name, v, err)
		}
		list, err := d.ListContainers(r.ctx)
		if err != nil || len(list) != 3 || list[0].LogPath != testLogs+"/pod/a.log" || list[1].LogPath != "" || list[2].LogPath != "" {
			t.Errorf("%s: containers %+v, %v", name, list, err)
		}
		if _, err := d.ImageStatus(r.ctx, "x"); !errors.Is(err, runtimedriver.ErrNotFound) || !strings.Contains(err.Error(), "runtime driver "+name+": image x") {
			t.Errorf("%s: an image that is not there: %v", name, err)
		}
		_, err = d.(runtimedriver.StatsReader).ContainerStats(r.ctx, "a")
		if !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("%s: statistics: %v", name, err)
		}
		var out strings.Builder
		if code, err := d.Exec(r.ctx, "a", []string{"cat"}, runtimedriver.Stdio{In: strings.NewReader("words"), Out: &out}); code != 0 || err != nil || out.String() != "words" {
			t.Errorf("%s: exec: %d, %v, %q", name, code, err, out.String())
		}
	}
	for name, want := range map[string]string{"none": "not in the catalogue", "net": "is no runtime driver"} {
		short, cancel := context.WithTimeout(r.ctx, 20*time.Second)
		if name == "net" {
			r.wait(t, name, healthy)
		}
		if _, err := r.RuntimeDriver(name, testLogs).Version(short); !errors.Is(err, runtimedriver.ErrUnavailable) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
		cancel()
	}
}

// A call waits for a plugin that is restarted; one that was under way says that nobody knows how it
// ended; who had subscribed to events is told to list.
func TestRuntimeDriverOfAProcessThatDies(t *testing.T) {
	r := start(t, func(c *host.Config) { c.Node = "node-1" }, spec(t, "driver", "far"))
	st := r.wait(t, "far", healthy)
	d := r.RuntimeDriver("far", testLogs)
	events, err := d.Events(r.ctx)
	if err != nil {
		t.Fatal(err)
	}
	in, feed := io.Pipe()
	defer feed.Close()
	out := make(chan string, 1)
	cut := make(chan error, 1)
	go func() {
		_, err := d.Exec(r.ctx, "a", []string{"cat"}, runtimedriver.Stdio{In: in, Out: writeFunc(func(p []byte) { out <- string(p) })})
		cut <- err
	}()
	if _, err := feed.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if got := <-out; got != "x" { // it is under way
		t.Fatalf("exec copied %q", got)
	}
	if err := syscall.Kill(st.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := <-cut; !errors.Is(err, runtimedriver.ErrUnavailable) {
		t.Errorf("an exec that was cut off: %v", err)
	}
	for range events { // there are none; it ends
	}
	r.wait(t, "far", func(st host.Status) bool { return st.Restarts == 1 })
	if list, err := d.ListContainers(r.ctx); err != nil || len(list) != 3 {
		t.Errorf("a call while it is restarted: %+v, %v", list, err)
	}
	if _, err := d.Exec(r.ctx, "a", []string{"fall"}, runtimedriver.Stdio{}); !errors.Is(err, runtimedriver.ErrUnavailable) {
		t.Errorf("an exec at which the plugin fell: %v", err)
	}
	st = r.wait(t, "far", healthyAgain(2))
	if !strings.Contains(st.LastReason, "the driver fell") {
		t.Errorf("why it ended: %s", st.LastReason)
	}
}

type writeFunc func([]byte)

func (f writeFunc) Write(p []byte) (int, error) { f(p); return len(p), nil }

// Another version takes over while somebody talks to a container, and who subscribed is told.
func TestRuntimeDriverIsHandedOver(t *testing.T) {
	r := start(t, func(c *host.Config) { c.Node = "node-1" }, spec(t, "driver", "far"))
	r.wait(t, "far", healthy)
	d := r.RuntimeDriver("far", testLogs)
	events, err := d.Events(r.ctx)
	if err != nil {
		t.Fatal(err)
	}
	in, feed := io.Pipe()
	ended := make(chan error, 1)
	heard := make(chan string, 2)
	go func() {
		_, err := d.Exec(r.ctx, "a", []string{"cat"}, runtimedriver.Stdio{In: in, Out: writeFunc(func(p []byte) { heard <- string(p) })})
		ended <- err
	}()
	say := func(word string) {
		t.Helper()
		if _, err := feed.Write([]byte(word)); err != nil {
			t.Fatal(err)
		}
		if got := <-heard; got != word {
			t.Errorf("said %q, heard %q", word, got)
		}
	}
	say("before")
	next := spec(t, "driver", "far")
	next.Env = map[string]string{"TEST_VERSION": "2.0.0"}
	if err := r.Change(next); err != nil {
		t.Fatal(err)
	}
	for range events { // there are none; it ends with the hand-over
	}
	if v, err := d.Version(r.ctx); err != nil || v != "test://2.0.0" {
		t.Errorf("new calls go to %s, %v", v, err)
	}
	say("while it drains")
	_ = feed.Close()
	if err := <-ended; err != nil {
		t.Errorf("the exec that was under way: %v", err)
	}
}
