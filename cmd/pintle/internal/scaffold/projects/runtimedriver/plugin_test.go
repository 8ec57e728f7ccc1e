package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pintle-dev/pintle/sdk/plugin"
	"github.com/pintle-dev/pintle/sdk/plugintest"
	"github.com/pintle-dev/pintle/sdk/protocol"
	"github.com/pintle-dev/pintle/sdk/runtimedriver"
)

// TestMain makes the test's program the plugin, too, for the test of it as a process that is killed.
func TestMain(m *testing.M) {
	if os.Getenv(protocol.Handshake().MagicCookieKey) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// The suite also opens the driver again, and kills its process, and looks for what ran. Commands
// that print, copy and fail are held to it, too, once there are some (plugintest.Containers).
func TestRuntimeDriverContract(t *testing.T) {
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	plugintest.RunRuntimeDriver(t, plugintest.RuntimeDriverCase{
		Case: plugintest.Case{BadSettings: map[string]string{
			`{"greeting":""}`: "settings.greeting", `{"greetings":"x"}`: "settings.greetings",
		}},
		Containers: plugintest.Containers{Image: "docker.io/library/any:1", Sleep: []string{"sleep", "forever"}},
		New:        func() runtimedriver.RuntimeDriver { return &Plugin{} },
		Program:    []string{program},
	})
}

func TestLogAndStreams(t *testing.T) {
	p := &Plugin{settings: Settings{Greeting: "moin"}}
	d, err := p.Open(t.Context(), plugin.Env{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	if _, err := d.RunSandbox(ctx, runtimedriver.SandboxConfig{ID: "s"}); err != nil {
		t.Fatal(err)
	}
	if _, err := d.PullImage(ctx, "i", nil); err != nil {
		t.Fatal(err)
	}
	log := filepath.Join(t.TempDir(), "log")
	id, err := d.CreateContainer(ctx, "s", runtimedriver.ContainerConfig{Name: "web", Image: "i", LogPath: log})
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	exec := func() error {
		_, err := d.Exec(ctx, id, []string{"hello"}, runtimedriver.Stdio{Out: &out})
		return err
	}
	if err := exec(); err == nil || !strings.Contains(err.Error(), "web is created") {
		t.Errorf("exec in a container that does not run: %v", err)
	}
	if err := d.StartContainer(ctx, id); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(log); !strings.HasSuffix(string(text), " stdout F moin web\n") {
		t.Errorf("log %q, %v", text, err)
	}
	if err := exec(); err != nil || out.String() != "hello\n" {
		t.Errorf("exec: %q, %v", out.String(), err)
	}
	attached := make(chan error, 1)
	go func() { attached <- d.Attach(context.WithoutCancel(ctx), id, runtimedriver.Stdio{}) }()
	if err := d.StopContainer(ctx, id, 0); err != nil {
		t.Fatal(err)
	}
	if err := <-attached; err != nil && !strings.Contains(err.Error(), "exited") {
		t.Errorf("attached to a container that ends: %v", err)
	}
}
