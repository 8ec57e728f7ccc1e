package serve_test

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/pintle-dev/pintle/sdk/controller"
	"github.com/pintle-dev/pintle/sdk/plugin"
	"github.com/pintle-dev/pintle/sdk/protocol"
	"github.com/pintle-dev/pintle/sdk/serve"
)

// TestMain lets the test binary play a plugin.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 {
		switch os.Args[1] {
		case "controller":
			serve.Serve(idle{}, controller.Point(idle{}))
			return
		case "nothing":
			serve.Serve(base{})
			return
		}
	}
	os.Exit(m.Run())
}

type base struct{}

func (base) Info() plugin.Info                       { return plugin.Info{Name: "test", Version: "1"} }
func (base) ConfigSchema() []byte                    { return nil }
func (base) Configure(context.Context, []byte) error { return nil }

type idle struct{ base }

func (idle) Run(ctx context.Context, _ plugin.Env) error {
	<-ctx.Done()
	return ctx.Err()
}

func play(t *testing.T, kind string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return exec.Command(exe, kind)
}

func TestPluginStartedByHandExplainsItself(t *testing.T) {
	for kind, want := range map[string]string{
		"controller": "This binary is a plugin",
		"nothing":    "plugin test offers no extension point",
	} {
		out, err := play(t, kind).CombinedOutput()
		if err == nil || !strings.Contains(string(out), want) {
			t.Errorf("%s: %v: %s", kind, err, out)
		}
	}
}

// The lifeline alone, without a parent-death signal, ends a plugin whose host is gone.
func TestPluginEndsWithItsLifeline(t *testing.T) {
	cmd := play(t, "controller")
	hs := protocol.Handshake()
	cmd.Env = []string{
		hs.MagicCookieKey + "=" + hs.MagicCookieValue, protocol.LifelineEnv + "=stdin", "PLUGIN_PROTOCOL_VERSIONS=1",
	}
	lifeline, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "1|1|unix|") {
		t.Fatalf("handshake %q: %v", line, err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	if err := lifeline.Close(); err != nil {
		t.Fatal(err)
	}
	late := time.NewTimer(5 * time.Second)
	defer late.Stop()
	select {
	case <-ended:
	case <-late.C:
		t.Fatal("the plugin outlived its host")
	}
}
