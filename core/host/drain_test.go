package host_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"

	"github.com/pintle-dev/pintle/core/host"
	"github.com/pintle-dev/pintle/sdk/manifest"
	"github.com/pintle-dev/pintle/sdk/resource"
)

func validate(ctx context.Context, v resource.Validator, name string) error {
	return v.Validate(ctx, &resource.Request{Operation: resource.Create, Name: name, Object: map[string]any{}}).ToAggregate()
}

// callers call a plugin's hooks from now on, until stop is called; no call may fail.
func callers(t *testing.T, r *running, v resource.Validator) (calls *atomic.Int64, stop func()) {
	t.Helper()
	calls = &atomic.Int64{}
	done := make(chan struct{})
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				if err := validate(r.ctx, v, "w"); err != nil {
					t.Errorf("a call failed: %v", err)
					return
				}
				calls.Add(1)
			}
		})
	}
	return calls, func() { close(done); all.Wait() }
}

func TestRestartHandsOverWithoutAFailedCall(t *testing.T) {
	var types bundles
	r := start(t, types.config, versioned(t, "1.0.0"))
	before := r.wait(t, "up", serves("1.0.0"))
	calls, stop := callers(t, r, types.validator(t))
	want := []string{"begin 1.0.0"}
	for i := range 3 {
		if err := r.Restart("up"); err != nil {
			t.Fatal(err)
		}
		st := r.wait(t, "up", func(st host.Status) bool {
			return st.Restarts == i+1 && upgraded("Serving")(st) || st.Restarts == i+1 && upgraded("Proven")(st)
		})
		if st.PID == before.PID {
			t.Error("it is the same process")
		}
		before = st
		want = append(want, "end 1.0.0", "begin 1.0.0")
		n := calls.Load()
		eventually(t, patience, "calls after the restart", func() bool { return calls.Load() > n+10 })
	}
	stop()
	if got := r.ledger(t, len(want)); !slices.Equal(got, want) {
		t.Errorf("work:\n got %v\nwant %v", got, want)
	}
	if st := r.wait(t, "up", healthy); len(st.History) != 1 {
		t.Errorf("a restart is no revision: %+v", st.History)
	}
}

// Whatever ends an instance, the calls that it has begun are answered.
func TestCallsUnderWayAreAnswered(t *testing.T) {
	restart := func(s host.Spec) host.Spec { s.Replacement.Strategy = host.RestartFirst; return s }
	for name, c := range map[string]struct {
		spec func(host.Spec) host.Spec
		end  func(r *running, s host.Spec) error
	}{
		"removal": {nil, func(r *running, _ host.Spec) error { return r.Remove(r.ctx, "up") }},
		"disabling": {nil, func(r *running, s host.Spec) error {
			s.Disabled = true
			return r.Change(s)
		}},
		"a restart without a hand-over": {restart, func(r *running, _ host.Spec) error { return r.Restart("up") }},
		"a hand-over":                   {nil, func(r *running, _ host.Spec) error { return r.Restart("up") }},
		"the end of the host":           {nil, func(r *running, _ host.Spec) error { r.stop(); return nil }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var types bundles
			s := versioned(t, "1.0.0")
			if c.spec != nil {
				s = c.spec(s)
			}
			r := start(t, types.config, s)
			r.wait(t, "up", serves("1.0.0"))
			v := types.validator(t)
			answered := make(chan error, 1)
			go func() { answered <- validate(r.ctx, v, "slow") }()
			dir := filepath.Join(r.dir, "plugins", "up")
			eventually(t, patience, "the slow call", func() bool { _, err := os.Stat(filepath.Join(dir, "slow-began")); return err == nil })
			ended := make(chan error, 1)
			go func() { ended <- c.end(r, s) }()
			if name != "a hand-over" { // no other instance takes calls
				eventually(t, patience, "no more calls", func() bool { return validate(r.ctx, v, "w") != nil })
			}
			// The controller is told to stop meanwhile.
			if got := r.ledger(t, 2); got[1] != "end 1.0.0" {
				t.Errorf("work: %v", got)
			}
			select {
			case err := <-answered:
				t.Fatalf("the call under way was given up: %v", err)
			default:
			}
			if err := os.WriteFile(filepath.Join(dir, "slow-end"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := <-answered; err != nil {
				t.Errorf("the call under way: %v", err)
			}
			if err := <-ended; err != nil {
				t.Error(err)
			}
		})
	}
}

func TestCallsWithoutAnEndDoNotHoldUpARemoval(t *testing.T) {
	var types bundles
	r := start(t, func(c *host.Config) { types.config(c); c.DrainTimeout = 50 * time.Millisecond }, versioned(t, "1.0.0"))
	st := r.wait(t, "up", serves("1.0.0"))
	v := types.validator(t)
	answered := make(chan error, 1)
	go func() { answered <- validate(r.ctx, v, "slow") }()
	eventually(t, patience, "the slow call", func() bool {
		_, err := os.Stat(filepath.Join(r.dir, "plugins", "up", "slow-began"))
		return err == nil
	})
	if err := r.Remove(r.ctx, "up"); err != nil {
		t.Fatal(err)
	}
	if err := <-answered; err == nil {
		t.Error("an answer from nowhere")
	}
	if alive(st.PID) {
		t.Error("the process is still there")
	}
}

// tag is a Fetcher of an artifact whose tag moves.
type tag struct {
	dir, binary string

	mu     sync.Mutex
	latest string
}

func (g *tag) move(version string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.latest = version
}

func (g *tag) Fetch(_ context.Context, s host.Source) (host.Artifact, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	version := g.latest
	if _, digest, ok := strings.Cut(s.OCI, "@sha256:"); ok {
		version = digest
	}
	path := filepath.Join(g.dir, "up@"+version)
	if err := os.Link(g.binary, path); err != nil && !os.IsExist(err) {
		return host.Artifact{}, err
	}
	return host.Artifact{Path: path, SHA256: "", Version: version, Digest: "sha256:" + version, Manifest: &manifest.Manifest{
		Name: "up", Version: version, Points: []string{"controller", "resource"}, Types: []string{"widgets.example.dev"},
		Permissions: []rbacv1.PolicyRule{{Verbs: []string{"*"}, APIGroups: []string{"*"}, Resources: []string{"*"}}},
	}}, nil
}

func TestATagThatMovedIsAnUpgrade(t *testing.T) {
	dir, err := os.MkdirTemp(filepath.Dir(self(t)), "tag")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // guests run what is in it
		t.Fatal(err)
	}
	source := &tag{dir: dir, binary: self(t), latest: "1.0.0"}
	var types bundles
	r := start(t, func(c *host.Config) { types.config(c); c.Fetcher = source }, host.Spec{
		Name: "up", Source: host.Source{OCI: "up:latest"}, Args: []string{"plugin", "upgradable", "up"}, Network: true,
	})
	r.wait(t, "up", serves("1.0.0"))
	r.wait(t, "up", upgraded("Proven"))
	// A crash is no upgrade.
	source.move("2.0.0")
	if err := syscall.Kill(r.wait(t, "up", serves("1.0.0")).PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	r.wait(t, "up", func(st host.Status) bool { return st.Restarts == 1 && serves("1.0.0")(st) })
	// A restart is one, by a hand-over.
	_, stop := callers(t, r, types.validator(t))
	if err := r.Restart("up"); err != nil {
		t.Fatal(err)
	}
	st := r.wait(t, "up", serves("2.0.0"))
	stop()
	if want := []string{"1.0.0 Replaced", "2.0.0 Serving"}; !slices.Equal(states(st), want) {
		t.Errorf("history: %v", states(st))
	}
	// What is not proven yet and dies gives way to what the tag was before.
	if err := syscall.Kill(st.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	st = r.wait(t, "up", func(st host.Status) bool { return upgraded("RolledBack")(st) && serves("1.0.0")(st) })
	if st.Digest != "sha256:1.0.0" {
		t.Errorf("digest: %s", st.Digest)
	}
	// Asked for again, it is tried again; and one that can't take over leaves what runs.
	source.move("no-v1")
	if err := r.Restart("up"); err != nil {
		t.Fatal(err)
	}
	st = r.wait(t, "up", func(now host.Status) bool {
		return upgraded("Refused")(now) && now.Restarts == st.Restarts+1 && serves("1.0.0")(now)
	})
	source.move("3.0.0")
	if err := r.Restart("up"); err != nil {
		t.Fatal(err)
	}
	r.wait(t, "up", serves("3.0.0"))
}

func states(st host.Status) (out []string) {
	for _, r := range st.History {
		out = append(out, r.Version+" "+string(r.State))
	}
	return out
}
