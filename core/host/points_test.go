package host_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/pintle-dev/pintle/core/host"
	"github.com/pintle-dev/pintle/sdk/network"
	"github.com/pintle-dev/pintle/sdk/plugin"
	"github.com/pintle-dev/pintle/sdk/resource"
)

func (r *running) calls(t *testing.T, name string) []string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(r.dir, "plugins", name, "calls"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Fields(strings.ReplaceAll(string(raw), " ", ":"))
}

func TestNetworkIsSetUpAgainWhenItsPluginRestarts(t *testing.T) {
	s := spec(t, "network", "net")
	s.NodeScoped = true
	r := start(t, func(c *host.Config) { c.Node = "node-1" }, s)
	net, err := r.Network("net")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := net.Attach(r.ctx, network.Pod{Name: "early"}); err == nil {
		t.Error("a pod was attached before Setup")
	}
	if err := net.Setup(r.ctx, plugin.Env{}, network.Node{Name: "node-1"}); err != nil {
		t.Fatal(err)
	}
	res, err := net.Attach(r.ctx, network.Pod{Name: "first"})
	if err != nil || !slices.Equal(res.IPs, []string{"10.1.2.3"}) {
		t.Fatalf("attach: %+v, %v", res, err)
	}
	if _, err := net.Attach(r.ctx, network.Pod{Name: "refused"}); err == nil || err.Error() != "network plugin net: no address left" {
		t.Errorf("refusal: %v", err)
	}
	st := r.wait(t, "net", healthy)
	if st.Object != "net.node-1" {
		t.Errorf("object: %s", st.Object)
	}
	if err := syscall.Kill(st.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	r.wait(t, "net", func(st host.Status) bool { return st.Restarts == 1 })
	// The plugin may or may not be back: the call waits for it.
	if _, err := net.Attach(r.ctx, network.Pod{Name: "second"}); err != nil {
		t.Fatal(err)
	}
	if err := net.Detach(r.ctx, network.Pod{Name: "first"}); err != nil {
		t.Fatal(err)
	}
	want := []string{"setup:node-1", "attach:first", "setup:node-1", "attach:second", "detach:first"}
	if got := r.calls(t, "net"); !slices.Equal(got, want) {
		t.Errorf("calls:\n got %v\nwant %v", got, want)
	}
	if err := net.Teardown(r.ctx); err != nil {
		t.Fatal(err)
	}
	r.wait(t, "net", healthy)
	if err := r.Restart("net"); err != nil {
		t.Fatal(err)
	}
	r.wait(t, "net", healthyAgain(2))
	if got := r.calls(t, "net"); got[len(got)-1] != "teardown" {
		t.Errorf("set up again after teardown: %v", got)
	}
}

func TestNetworkCallsNameThePluginThatIsAway(t *testing.T) {
	r := start(t, func(c *host.Config) { c.Backoff = host.Backoff{Initial: time.Hour, Max: time.Hour} },
		spec(t, "quit", "net"))
	net, err := r.Network("net")
	if err != nil {
		t.Fatal(err)
	}
	// The first restart is immediate; behind the second death it stays away.
	r.wait(t, "net", func(st host.Status) bool {
		return st.Health == host.HealthBackOff && time.Until(st.NextStart) > time.Minute
	})
	ctx, cancel := context.WithTimeout(r.ctx, 20*time.Millisecond)
	defer cancel()
	err = net.Setup(ctx, plugin.Env{}, network.Node{Name: "n"})
	if err == nil || !strings.Contains(err.Error(), "network plugin net is BackOff") || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("error: %v", err)
	}
}

func TestHooksOfADeadPluginRefuseWritesUntilItIsBack(t *testing.T) {
	bundles := make(chan resource.Bundle, 4)
	r := start(t, func(c *host.Config) {
		c.OnBundle = func(_ string, b resource.Bundle) error { bundles <- b; return nil }
	}, spec(t, "types", "widgets"))
	r.wait(t, "widgets", healthy)
	b := <-bundles
	defs, err := b.Definitions()
	if err != nil || len(defs) != 1 || defs[0].Source != "plugin:widgets" {
		t.Fatalf("definitions: %+v, %v", defs, err)
	}
	hooks := b.Hooks(widgets)
	validate := func(name string) error {
		req := &resource.Request{Operation: resource.Create, Name: name, Object: map[string]any{"spec": map[string]any{}}}
		return hooks.(resource.Validator).Validate(r.ctx, req).ToAggregate()
	}
	if err := validate("good"); err != nil {
		t.Fatal(err)
	}
	if err := validate("bad"); err == nil || !strings.Contains(err.Error(), "spec.size: Invalid value: -1: must not be negative") {
		t.Errorf("bad: %v", err)
	}
	if err := validate("die"); err == nil || !strings.Contains(err.Error(), `plugin "widgets" stopped while it was handling the request`) {
		t.Errorf("during death: %v", err)
	}
	r.wait(t, "widgets", healthyAgain(1))
	if err := validate("good"); err != nil {
		t.Errorf("after the restart: %v", err)
	}
	r.stop()
	err = hooks.(resource.Preparer).Prepare(context.Background(), &resource.Request{})
	if !apierrors.IsServiceUnavailable(err) || !strings.Contains(err.Error(), `plugin "widgets" is not running`) {
		t.Errorf("while away: %v", err)
	}
	if seconds, ok := apierrors.SuggestsClientDelay(err); !ok || seconds != 1 {
		t.Errorf("clients are not told to retry: %v", err)
	}
	if len(bundles) != 0 {
		t.Error("unchanged definitions were offered twice")
	}
}

func TestResourceTypesThatAreNotAcceptedAreOfferedAgain(t *testing.T) {
	offers := make(chan struct{}, 100)
	r := start(t, func(c *host.Config) {
		c.Backoff = host.Backoff{Initial: time.Millisecond, Max: time.Millisecond}
		c.OnBundle = func(string, resource.Bundle) error {
			offers <- struct{}{}
			if len(offers) < 3 {
				return context.DeadlineExceeded
			}
			return nil
		}
	}, spec(t, "types", "widgets"))
	st := r.wait(t, "widgets", healthy)
	if len(offers) != 3 || st.Restarts != 2 || !strings.Contains(st.LastReason, "its resource types were not accepted") {
		t.Errorf("%d offers; %+v", len(offers), st)
	}
}

func TestBuiltinPlacementDoesTheSame(t *testing.T) {
	impl := &testController{base: base{name: "inside"}, panicOnce: true}
	types := &testTypes{base: base{name: "types"}}
	offered := make(chan string, 2)
	r := start(t, func(c *host.Config) {
		c.OnBundle = func(name string, _ resource.Bundle) error { offered <- name; return nil }
	}, host.Spec{Name: "inside", Placement: host.Builtin, Builtin: impl},
		host.Spec{Name: "types", Placement: host.Builtin, Builtin: types})
	st := r.wait(t, "inside", healthyAgain(1))
	if st.PID != 0 || !strings.HasPrefix(st.Panic, "panic: assignment to entry in nil map") {
		t.Errorf("status: %+v", st)
	}
	eventually(t, patience, "report of the second run with its own identity", func() bool {
		rep, ok := r.report("inside")
		u, known := r.tokens.user(rep.Token)
		return ok && known && u.Name == "system:plugin:inside"
	})
	r.wait(t, "types", healthy)
	if name := <-offered; name != "types" {
		t.Errorf("bundle of %s", name)
	}
}

func TestSocketsFitIntoTheirAddressAndAreRemoved(t *testing.T) {
	deep := filepath.Join(t.TempDir(), strings.Repeat("long-name-", 12))
	r := start(t, func(c *host.Config) { c.Dir = deep }, spec(t, "controller", "steady"))
	r.wait(t, "steady", healthy)
	sockets := r.SocketDir()
	if _, err := os.Stat(sockets); err != nil {
		t.Fatal(err)
	}
	r.stop()
	if _, err := os.Stat(sockets); !os.IsNotExist(err) {
		t.Errorf("%s is left behind: %v", sockets, err)
	}
}
