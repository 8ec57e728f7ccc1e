package plugintest

import (
	"context"
	"errors"
	"log/slog"
	"testing"

	"github.com/pintle-dev/pintle/sdk/plugin"
	"github.com/pintle-dev/pintle/sdk/runtimedriver"
)

// Containers say what the suite runs: commands that the driver under test understands.
type Containers struct {
	// Image can be pulled, by this normalised reference.
	Image string
	// Sleep runs until it is stopped.
	Sleep []string
	// Print writes Printed and a line break to its standard output and ends with code 3. It
	// is not run where it is nil.
	Print   []string
	Printed string
	// Copy, as the command of an exec, copies its input to its output until the input ends,
	// and ends with code 0. It is not run where it is nil.
	Copy []string
	// Fail, as the command of an exec, ends with code 7. It is not run where it is nil.
	Fail []string
	// Cgroup is the parent for cgroups of sandboxes, empty where the driver makes none.
	Cgroup string
}

// RuntimeDriverCase is a runtime driver to be held to the contract.
type RuntimeDriverCase struct {
	Case
	Containers
	New func() runtimedriver.RuntimeDriver
	// Program starts the plugin as a process, by its path and arguments. What it runs has to be
	// there after the process was killed. It is not started where it is nil.
	Program []string
}

// RunRuntimeDriver holds a runtime driver to what a node's agent relies on: directly, over gRPC and,
// where Program is set, as a process that is killed.
func RunRuntimeDriver(t *testing.T, c RuntimeDriverCase) {
	t.Helper()
	c.runBase(t, func(t testing.TB) *Harness { return Start(t, c.New()) })
	t.Run("direct", func(t *testing.T) {
		h := Start(t, c.New()) // for an environment
		env, err := h.Environment.Env(h.Client.Info(), slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		impl := c.New()
		configure(t, impl, c.Settings)
		c.reopen(t, func(ctx context.Context) (runtimedriver.Driver, error) { return impl.Open(ctx, env) })
	})
	t.Run("grpc", func(t *testing.T) {
		h := Start(t, c.New())
		configure(t, h.Client, c.Settings)
		p, ok := h.Client.RuntimeDriver()
		if !ok {
			t.Fatal("the host is not told that the plugin is a runtime driver")
		}
		c.reopen(t, func(ctx context.Context) (d runtimedriver.Driver, err error) {
			soon(t, "open", func() error {
				d, err = p.Open(ctx, plugin.Env{})
				return err
			})
			return d, err
		})
	})
	if len(c.Program) == 0 {
		return
	}
	t.Run("process", func(t *testing.T) {
		dir := t.TempDir()
		open := func() (*Harness, runtimedriver.Driver) {
			h := StartProcess(t, c.Program...)
			h.Environment.Dir = dir
			h.Client.SetEnvironment(h.Environment)
			configure(t, h.Client, c.Settings)
			p, ok := h.Client.RuntimeDriver()
			if !ok {
				t.Fatal("the host is not told that the plugin is a runtime driver")
			}
			d, err := p.Open(t.Context(), plugin.Env{})
			if err != nil {
				t.Fatalf("open: %v", err)
			}
			return h, d
		}
		h, d := open()
		ExploreRuntimeDriver(t, d, c.Containers)
		left := newDriverTest(t, d, c.Containers)
		sandbox := left.lasting()
		id := left.started(sandbox, c.Sleep)
		h.Kill()
		if _, err := d.ListContainers(t.Context()); !errors.Is(err, runtimedriver.ErrUnavailable) {
			t.Errorf("a list of a process that was killed: %v, want ErrUnavailable", err)
		}
		_, left.d = open()
		left.remains(sandbox, id)
	})
}

// reopen explores a driver, ends it and opens it again: what it ran has to be there.
func (c RuntimeDriverCase) reopen(t *testing.T, open func(context.Context) (runtimedriver.Driver, error)) {
	t.Helper()
	life, end := context.WithCancel(t.Context())
	d, err := open(life)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	ExploreRuntimeDriver(t, d, c.Containers)
	left := newDriverTest(t, d, c.Containers)
	sandbox := left.lasting()
	id := left.started(sandbox, c.Sleep)
	end()
	if left.d, err = open(t.Context()); err != nil {
		t.Fatalf("open again: %v", err)
	}
	left.remains(sandbox, id)
}

// ExploreRuntimeDriver holds a driver that is open to the contract. It leaves nothing behind but
// the image.
func ExploreRuntimeDriver(t *testing.T, d runtimedriver.Driver, c Containers) {
	t.Helper()
	parts := []struct {
		name string
		run  func(*driverTest)
		skip bool
	}{
		{"version", (*driverTest).version, false},
		{"images", (*driverTest).images, false},
		{"sandboxes", (*driverTest).sandboxes, false},
		{"life of a container", (*driverTest).life, false},
		{"output and exit code", (*driverTest).prints, c.Print == nil},
		{"exec copies", (*driverTest).copies, c.Copy == nil},
		{"exec fails", (*driverTest).fails, c.Fail == nil},
		{"what is not there", (*driverTest).absent, false},
		{"events end", (*driverTest).eventsEnd, false},
		{"statistics", (*driverTest).stats, false},
		{"a sandbox goes with its containers", (*driverTest).goes, false},
	}
	for _, p := range parts {
		if !p.skip {
			t.Run(p.name, func(t *testing.T) { p.run(newDriverTest(t, d, c)) })
		}
	}
}
