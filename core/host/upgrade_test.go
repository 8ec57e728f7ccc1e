package host_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/pintle-dev/pintle/core/host"
	"github.com/pintle-dev/pintle/crd"
	"github.com/pintle-dev/pintle/sdk/plugin"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// upgradable brings a type, and a controller that writes down when it is at work. It plays
// the version that its environment names.
type upgradable struct {
	testTypes
	version string
}

func (u *upgradable) Info() plugin.Info {
	i := u.testTypes.Info()
	i.Version = u.version
	return i
}

func (u *upgradable) Definitions() ([]*crd.Definition, error) {
	defs, err := u.testTypes.Definitions()
	if u.version == "no-v1" {
		defs[0].Versions[0].Name = "v2"
	}
	return defs, err
}

// Run notes its beginning and its end, and fails where its version does.
func (u *upgradable) Run(ctx context.Context, env plugin.Env) error {
	note := func(what string) error {
		f, err := os.OpenFile(filepath.Join(env.Dir, "ledger"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }()
		_, err = fmt.Fprintf(f, "%s %s\n", what, u.version)
		return err
	}
	done, err := atWork(env.Dir)
	if err != nil {
		return err
	}
	if done != nil {
		defer done()
	}
	if err := note("begin"); err != nil {
		return err
	}
	if u.version == "crashes" {
		time.Sleep(50 * time.Millisecond) // it must take over first
		panic("this version is no good")
	}
	<-ctx.Done()
	return note("end")
}

func versioned(t *testing.T, version string) host.Spec {
	s := spec(t, "upgradable", "up")
	s.Env = map[string]string{"TEST_VERSION": version}
	s.Replacement.WatchPeriod = time.Minute
	return s
}

// ledger waits until the controller has noted so many beginnings and ends.
func (r *running) ledger(t *testing.T, lines int) []string {
	t.Helper()
	var out []string
	eventually(t, patience, "lines of the ledger", func() bool {
		raw, _ := os.ReadFile(filepath.Join(r.dir, "plugins", "up", "ledger"))
		out = strings.Split(strings.TrimSpace(string(raw)), "\n")
		return len(out) >= lines
	})
	return out
}

func serves(version string) func(host.Status) bool {
	return func(st host.Status) bool { return healthy(st) && st.Version == version }
}

func upgraded(reason string) func(host.Status) bool {
	return func(st host.Status) bool {
		c, ok := st.Condition(host.ConditionUpgraded)
		return ok && c.Reason == reason
	}
}

// bundles is where types go to in tests.
type bundles struct {
	mu     sync.Mutex
	bundle resource.Bundle
	gone   []schema.GroupResource
}

func (b *bundles) config(c *host.Config) {
	c.OnBundle = func(_ string, bundle resource.Bundle) error {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.bundle = bundle
		return nil
	}
	c.OnTypesGone = func(_ string, types []schema.GroupResource) error {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.gone = append(b.gone, types...)
		return nil
	}
}

func (b *bundles) validator(t *testing.T) resource.Validator {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	v, ok := b.bundle.Hooks(widgets).(resource.Validator)
	if !ok {
		t.Fatal("the type has no validator")
	}
	return v
}

func TestUpgradeHandsOverWithoutAFailedCall(t *testing.T) {
	var types bundles
	r := start(t, types.config, versioned(t, "1.0.0"))
	r.wait(t, "up", serves("1.0.0"))
	v := types.validator(t)
	var calls atomic.Int64
	stop := make(chan struct{})
	var callers sync.WaitGroup
	for range 4 {
		callers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if errs := v.Validate(r.ctx, &resource.Request{Operation: resource.Create, Name: "w", Object: map[string]any{}}); len(errs) > 0 {
					t.Errorf("a call failed: %v", errs.ToAggregate())
					return
				}
				calls.Add(1)
			}
		})
	}
	want := []string{"begin 1.0.0"}
	for i, version := range []string{"2.0.0", "1.0.0", "2.0.0"} {
		before := calls.Load()
		if err := r.Change(versioned(t, version)); err != nil {
			t.Fatal(err)
		}
		st := r.wait(t, "up", serves(version))
		want = append(want, "end "+[]string{"1.0.0", "2.0.0"}[i%2], "begin "+version)
		if st.Restarts != 0 {
			t.Errorf("%d restarts", st.Restarts)
		}
		eventually(t, patience, "calls after the upgrade", func() bool { return calls.Load() > before+10 })
	}
	close(stop)
	callers.Wait()
	if got := r.ledger(t, len(want)); !slices.Equal(got, want) {
		t.Errorf("work:\n got %v\nwant %v", got, want)
	}
	st := r.wait(t, "up", healthy)
	var states []string
	for _, rev := range st.History {
		states = append(states, rev.Version+" "+string(rev.State))
	}
	if got := states[len(states)-1]; got != "2.0.0 Serving" || !slices.Contains(states, "1.0.0 Replaced") {
		t.Errorf("history: %v", states)
	}
}

func TestRefusedEntryLeavesTheRunningInstanceAsItWas(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*host.Spec)
		want   string
	}{
		"settings against the schema": {func(s *host.Spec) { s.Settings = json.RawMessage(`{"mode":"slow"}`) }, `settings.mode: Unsupported value: "slow"`},
		"settings the plugin refuses": {func(s *host.Spec) { s.Settings = json.RawMessage(`{"odd":true}`) }, "settings.odd: odd is not supported"},
		"a binary that is not there":  {func(s *host.Spec) { s.Command = []string{"/nowhere/plugin"} }, "no such file"},
		"a type that lost a version":  {func(s *host.Spec) { s.Env = map[string]string{"TEST_VERSION": "no-v1"} }, "no longer reads widgets.example.dev of version v1"},
	} {
		t.Run(name, func(t *testing.T) {
			var types bundles
			r := start(t, types.config, versioned(t, "1.0.0"))
			before := r.wait(t, "up", serves("1.0.0"))
			s := versioned(t, "2.0.0")
			c.change(&s)
			if err := r.Change(s); err != nil {
				t.Fatal(err)
			}
			st := r.wait(t, "up", upgraded("Refused"))
			if cond, _ := st.Condition(host.ConditionUpgraded); !strings.Contains(cond.Message, c.want) {
				t.Errorf("condition: %s", cond.Message)
			}
			if st.PID != before.PID || !healthy(st) || st.Restarts != 0 || st.Version != "1.0.0" {
				t.Errorf("the running instance has changed: %+v", st)
			}
			// After a crash the entry that worked runs again.
			if err := r.Restart("up"); err != nil {
				t.Fatal(err)
			}
			r.wait(t, "up", func(st host.Status) bool { return st.Restarts == 1 && serves("1.0.0")(st) })
			if got := r.ledger(t, 3); len(got) != 3 {
				t.Errorf("work: %v", got)
			}
		})
	}
}

// What runs stays, also where it has not proven itself yet; and where it then fails, what had
// proven itself comes back, and not what was refused.
func TestRefusedEntryLeavesAnInstanceOnTrialAsItWas(t *testing.T) {
	var types bundles
	r := start(t, types.config, versioned(t, "1.0.0"))
	r.wait(t, "up", serves("1.0.0"))
	if err := r.Change(versioned(t, "2.0.0")); err != nil {
		t.Fatal(err)
	}
	before := r.wait(t, "up", serves("2.0.0")) // within its watch period of a minute
	bad := versioned(t, "3.0.0")
	bad.Settings = json.RawMessage(`{"mode":"slow"}`)
	if err := r.Change(bad); err != nil {
		t.Fatal(err)
	}
	r.wait(t, "up", upgraded("Refused"))
	// A change that needs no process is carried out by what runs, after whatever came before.
	bad.Permissions = []rbacv1.PolicyRule{{Verbs: []string{"get"}, APIGroups: []string{""}, Resources: []string{"pods"}}}
	bad.Settings = json.RawMessage(`{"mode":"slower"}`)
	if err := r.Change(bad); err != nil {
		t.Fatal(err)
	}
	st := r.wait(t, "up", func(st host.Status) bool {
		c, _ := st.Condition(host.ConditionUpgraded)
		return upgraded("Refused")(st) && strings.Contains(c.Message, "slower")
	})
	if st.PID != before.PID || st.Version != "2.0.0" || st.Restarts != 0 {
		t.Errorf("what ran on trial was given up: version %s, process %d, was %d", st.Version, st.PID, before.PID)
	}
	// Now it fails in its watch period.
	killed, err := os.FindProcess(st.PID)
	if err != nil {
		t.Fatal(err)
	}
	if err := killed.Kill(); err != nil {
		t.Fatal(err)
	}
	r.wait(t, "up", func(st host.Status) bool { return upgraded("RolledBack")(st) && serves("1.0.0")(st) })
}

func TestFailureInTheWatchPeriodRollsBack(t *testing.T) {
	var types bundles
	r := start(t, types.config, versioned(t, "1.0.0"))
	r.wait(t, "up", serves("1.0.0"))
	if err := r.Change(versioned(t, "crashes")); err != nil {
		t.Fatal(err)
	}
	st := r.wait(t, "up", func(st host.Status) bool { return upgraded("RolledBack")(st) && serves("1.0.0")(st) })
	if c, _ := st.Condition(host.ConditionUpgraded); !strings.Contains(c.Message, "this version is no good") {
		t.Errorf("condition: %+v", c)
	}
	st = r.wait(t, "up", func(st host.Status) bool { return st.History[len(st.History)-1].State == host.RevisionServing })
	if last := st.History[len(st.History)-2]; last.State != host.RevisionRolledBack || last.Version != "crashes" {
		t.Errorf("history: %+v", st.History)
	}
	// The next entry is tried like any other.
	if err := r.Change(versioned(t, "2.0.0")); err != nil {
		t.Fatal(err)
	}
	r.wait(t, "up", serves("2.0.0"))
}

func TestRestartStrategyNeverHasTwoAtWork(t *testing.T) {
	s := versioned(t, "1.0.0")
	s.Replacement.Strategy = host.RestartFirst
	r := start(t, nil, s)
	r.wait(t, "up", serves("1.0.0"))
	next := versioned(t, "2.0.0")
	next.Replacement.Strategy = host.RestartFirst
	if err := r.Change(next); err != nil {
		t.Fatal(err)
	}
	r.wait(t, "up", serves("2.0.0"))
	if got, want := r.ledger(t, 3), []string{"begin 1.0.0", "end 1.0.0", "begin 2.0.0"}; !slices.Equal(got, want) {
		t.Errorf("work: %v", got)
	}
}

func TestCatalogueChangesWhileTheHostRuns(t *testing.T) {
	var types bundles
	r := start(t, types.config)
	if err := r.Add(versioned(t, "1.0.0")); err != nil {
		t.Fatal(err)
	}
	r.wait(t, "up", serves("1.0.0"))
	off := versioned(t, "1.0.0")
	off.Disabled = true
	if err := r.Change(off); err != nil {
		t.Fatal(err)
	}
	r.wait(t, "up", func(st host.Status) bool { return st.Health == host.HealthDisabled })
	if err := r.Change(versioned(t, "1.0.0")); err != nil {
		t.Fatal(err)
	}
	r.wait(t, "up", serves("1.0.0"))
	if err := r.Remove(r.ctx, "up"); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Status("up"); err == nil {
		t.Error("a removed plugin is still in the catalogue")
	}
	if !slices.Contains(types.gone, widgets) {
		t.Errorf("types taken away: %v", types.gone)
	}
}

func TestTypesOfOthersAreRefused(t *testing.T) {
	for source, want := range map[string]string{
		"plugin:other":            `belongs to plugin "other"`,
		"crd:widgets.example.dev": `belongs to CustomResourceDefinition "widgets.example.dev"`,
		"builtin":                 "belongs to the control plane itself",
	} {
		r := start(t, func(c *host.Config) {
			c.TypeOwner = func(schema.GroupResource) (string, bool) { return source, true }
		}, versioned(t, "1.0.0"))
		st := r.wait(t, "up", func(st host.Status) bool { return st.Health == host.HealthRefused })
		if !strings.Contains(st.Reason, want) {
			t.Errorf("reason: %s", st.Reason)
		}
	}
}

// Types are offered again by the next host, before their plugin is up.
func TestTypesAreRememberedAcrossRestarts(t *testing.T) {
	dir, err := os.MkdirTemp("", "ph")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	var types bundles
	in := func(c *host.Config) { types.config(c); c.Dir = dir }
	r := start(t, in, versioned(t, "1.0.0"))
	r.wait(t, "up", healthy)
	r.stop()
	types.bundle = nil
	h, err := host.New(func() host.Config {
		c := host.Config{Dir: dir, SocketPath: filepath.Join(dir, "api.sock"), Tokens: &tokens{}}
		types.config(&c)
		return c
	}())
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Add(versioned(t, "1.0.0")); err != nil {
		t.Fatal(err)
	}
	errs := types.validator(t).Validate(t.Context(), &resource.Request{Operation: resource.Create, Name: "w", Object: map[string]any{}})
	if len(errs) != 1 || !strings.Contains(errs.ToAggregate().Error(), "is not running") {
		t.Errorf("a hook before the plugin is up: %v", errs)
	}
}
