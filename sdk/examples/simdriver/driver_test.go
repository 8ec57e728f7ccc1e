package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pintle-dev/pintle/sdk/plugin"
	"github.com/pintle-dev/pintle/sdk/plugintest"
	"github.com/pintle-dev/pintle/sdk/runtimedriver"
)

// build builds the plugin's program.
func build(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "simdriver")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", program, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return program
}

func TestContract(t *testing.T) {
	program := build(t)
	plugintest.RunProcess(t, plugintest.ProcessCase{Command: []string{program}})
	plugintest.RunRuntimeDriver(t, plugintest.RuntimeDriverCase{
		Case: plugintest.Case{BadSettings: map[string]string{`{"greetings":"x"}`: "greetings", `{"greeting":""}`: "greeting"}},
		Containers: plugintest.Containers{
			Image: "docker.io/library/any:1", Sleep: []string{"sleep", "forever"},
			Print: []string{"fail", "3", "some", "words"}, Printed: "some words",
			Copy: []string{"cat"}, Fail: []string{"exit", "7"},
		},
		New:     func() runtimedriver.RuntimeDriver { return &simDriver{} },
		Program: []string{program},
	})
}

// What a person sees who attaches: an echo, until the container ends.
func TestAttach(t *testing.T) {
	p := &simDriver{}
	if err := p.Configure(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	d, err := p.Open(t.Context(), plugin.Env{Dir: t.TempDir(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	s, err := d.RunSandbox(ctx, runtimedriver.SandboxConfig{ID: "s"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.PullImage(ctx, "i", nil); err != nil {
		t.Fatal(err)
	}
	log := filepath.Join(t.TempDir(), "log")
	id, err := d.CreateContainer(ctx, s.ID, runtimedriver.ContainerConfig{Name: "c", Image: "i", Command: []string{"serve"}, LogPath: log})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Attach(ctx, id, runtimedriver.Stdio{}); err == nil || !strings.Contains(err.Error(), "created") {
		t.Errorf("attached to a container that does not run: %v", err)
	}
	if err := d.StartContainer(ctx, id); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(log); !strings.HasSuffix(string(text), " stdout F hollow: serve\n") {
		t.Errorf("log %q, %v", text, err)
	}
	var out bytes.Buffer
	if err := d.Attach(ctx, id, runtimedriver.Stdio{In: strings.NewReader("hello"), Out: &out}); err != nil || out.String() != "hello" {
		t.Errorf("attached: %q, %v", out.String(), err)
	}
	in, feed := io.Pipe() // somebody who types nothing
	defer feed.Close()
	done := make(chan error, 1)
	go func() { done <- d.Attach(ctx, id, runtimedriver.Stdio{In: in, Out: io.Discard}) }()
	if err := d.StopContainer(context.WithoutCancel(ctx), id, 0); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil && !strings.Contains(err.Error(), "exited") {
		t.Errorf("attached to a container that ended: %v", err)
	}
	if err := d.StartContainer(ctx, "none"); !errors.Is(err, runtimedriver.ErrNotFound) {
		t.Errorf("start of nothing: %v", err)
	}
}
