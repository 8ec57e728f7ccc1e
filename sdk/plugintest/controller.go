package plugintest

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/pintle-dev/pintle/sdk/controller"
	"github.com/pintle-dev/pintle/sdk/plugin"
	"github.com/pintle-dev/pintle/sdk/scheduler"
)

// ControllerCase is a controller to be held to the contract.
type ControllerCase struct {
	Case
	// New makes a fresh one.
	New func() controller.Controller
}

// RunController holds a controller to the contract: it says who it is, takes its settings
// and refuses bad ones, keeps running while the API server is not there, stops soon after
// it is told to and leaves no error behind.
func RunController(t *testing.T, c ControllerCase) {
	t.Helper()
	start := func(t testing.TB) *Harness { return Start(t, c.New()) }
	c.runBase(t, start)
	runs(t, c.Case, start, controllerOf)
}

func controllerOf(t testing.TB, h *Harness) func(context.Context, plugin.Env) error {
	t.Helper()
	ctl, ok := h.Client.Controller()
	if !ok {
		t.Fatal("the host is not told that the plugin is a controller")
	}
	return ctl.Run
}

// SchedulerCase is a scheduler to be held to the contract.
type SchedulerCase struct {
	Case
	// New makes a fresh one.
	New func() scheduler.Scheduler
}

// RunScheduler holds a scheduler to the contract, as RunController does; it must serve at
// least one name.
func RunScheduler(t *testing.T, c SchedulerCase) {
	t.Helper()
	start := func(t testing.TB) *Harness { return Start(t, c.New()) }
	c.runBase(t, start)
	runs(t, c.Case, start, schedulerOf(c.Case))
}

func schedulerOf(c Case) func(testing.TB, *Harness) func(context.Context, plugin.Env) error {
	return func(t testing.TB, h *Harness) func(context.Context, plugin.Env) error {
		t.Helper()
		configure(t, h.Client, c.Settings)
		s, ok, err := h.Client.Scheduler(context.Background())
		if err != nil || !ok {
			t.Fatalf("the host is not told that the plugin is a scheduler: %v", err)
		}
		if len(s.SchedulerNames()) == 0 {
			t.Error("it serves no scheduler name")
		}
		return s.Schedule
	}
}

func runs(t *testing.T, c Case, start func(testing.TB) *Harness, of func(testing.TB, *Harness) func(context.Context, plugin.Env) error) {
	t.Helper()
	t.Run("runs until it is stopped", func(t *testing.T) {
		h := start(t)
		configure(t, h.Client, c.Settings)
		run := of(t, h)
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		ended := make(chan error, 1)
		go func() { ended <- run(ctx, plugin.Env{}) }()
		select {
		case <-h.Client.Running():
		case err := <-ended:
			t.Fatalf("ended without having been told to: %v", err)
		}
		if err := run(ctx, plugin.Env{}); err == nil || !strings.Contains(err.Error(), "already started") {
			t.Errorf("a second start in one process: %v", err)
		}
		stop()
		patience := time.NewTimer(Patience)
		defer patience.Stop()
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("an ordered stop left an error: %v", err)
			}
		case <-patience.C:
			t.Fatalf("did not stop within %s", Patience)
		}
	})
}
