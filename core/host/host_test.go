package host_test

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pintle-dev/pintle/core/host"
)

func TestPluginRunsWithAnIdentityAndWithoutTheHostsEnvironment(t *testing.T) {
	t.Setenv("HOST_SECRET", "do-not-leak")
	s := spec(t, "controller", "steady")
	s.Settings = json.RawMessage(`{"workers":3}`)
	s.Env = map[string]string{"WANTED": "yes"}
	r := start(t, nil, s)
	st := r.wait(t, "steady", healthy)
	if st.Version != "1.2.3" || st.PID == 0 || st.Restarts != 0 || !slices.Contains(st.Points, "controller") {
		t.Errorf("status: %+v", st)
	}
	var rep report
	eventually(t, patience, "report", func() (ok bool) { rep, ok = r.report("steady"); return ok })
	env := strings.Join(rep.Environ, "\n")
	if strings.Contains(env, "HOST_SECRET") {
		t.Error("the host's environment was inherited")
	}
	if !strings.Contains(env, "WANTED=yes") {
		t.Error("the entry's own environment is missing")
	}
	if u, ok := r.tokens.user(rep.Token); !ok || u.Name != "system:plugin:steady" || !slices.Contains(u.Groups, "system:plugins") {
		t.Errorf("identity: %+v (%v)", u, ok)
	}
	for _, s := range append(rep.Args, rep.Environ...) {
		if strings.Contains(s, rep.Token) {
			t.Error("the token shows in arguments or environment")
		}
	}
	if rep.Settings != `{"mode":"safe","workers":3}` {
		t.Errorf("settings were not defaulted: %s", rep.Settings)
	}
	r.stop()
	if alive(st.PID) {
		t.Error("the plugin outlived its host")
	}
	if _, ok := r.tokens.user(rep.Token); ok {
		t.Error("the token outlived the plugin")
	}
	lines, _ := r.Logs("steady", 200)
	if log := strings.Join(lines, "\n"); !strings.Contains(log, "controller is at work") || !strings.Contains(log, "told to stop") {
		t.Errorf("log:\n%s", log)
	}
	if got, _ := r.Status("steady"); got.Health != host.HealthStopped {
		t.Errorf("health after stop: %s", got.Health)
	}
}

func TestKilledPluginIsBackWithinTwoSeconds(t *testing.T) {
	r := start(t, nil, spec(t, "controller", "steady"))
	st := r.wait(t, "steady", healthy)
	// The fastest of three: what a busy machine adds is not the host's doing.
	fastest := patience
	for i := 1; i <= 3; i++ {
		began := time.Now()
		if err := syscall.Kill(st.PID, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		st = r.wait(t, "steady", healthyAgain(i))
		fastest = min(fastest, time.Since(began))
		if st.LastExit == nil || st.LastExit.Signal != "killed" {
			t.Errorf("last exit: %+v", st.LastExit)
		}
		if !strings.Contains(strings.Join(st.LastOutput, "\n"), "started as process") {
			t.Errorf("last lines were not kept: %q", st.LastOutput)
		}
	}
	if fastest > 2*time.Second {
		t.Errorf("no restart took less than %s", fastest)
	}
}

func TestPanicTextIsKept(t *testing.T) {
	r := start(t, nil, spec(t, "panic-once", "jumpy"))
	st := r.wait(t, "jumpy", healthyAgain(1))
	if !strings.HasPrefix(st.Panic, "panic: assignment to entry in nil map") || !strings.Contains(st.Panic, "plugins_test.go") {
		t.Errorf("panic: %q", st.Panic)
	}
	if !strings.Contains(st.LastReason, "died of panic: assignment to entry in nil map") || st.LastExit.Code != 2 {
		t.Errorf("reason %q, exit %+v", st.LastReason, st.LastExit)
	}
	if out := strings.Join(st.LastOutput, "\n"); !strings.Contains(out, "goroutine") {
		t.Errorf("last output: %s", out)
	}
	log, err := os.ReadFile(st.LogFile)
	if err != nil || !strings.Contains(string(log), "panic: assignment") {
		t.Errorf("log file: %v\n%s", err, log)
	}
}

func TestFailingPluginBacksOffUntilItsCircuitOpens(t *testing.T) {
	r := start(t, func(c *host.Config) {
		c.Backoff = host.Backoff{Initial: time.Millisecond, Max: time.Hour, Open: 2}
	}, spec(t, "fails", "sad"))
	st := r.wait(t, "sad", func(st host.Status) bool { return st.Circuit == host.CircuitOpen && st.Health == host.HealthBackOff })
	if !strings.Contains(st.Reason, "the world is not as it should be") || st.NextStart.IsZero() {
		t.Errorf("status: %+v", st)
	}
	r.wait(t, "sad", func(st host.Status) bool { return st.Circuit == host.CircuitHalfOpen })
}

func TestPluginsThatDoNotShakeHands(t *testing.T) {
	cases := map[string]struct {
		kind, reason string
		health       host.Health
	}{
		"never answers":     {"silent", "did not answer its handshake within 300ms", host.HealthBackOff},
		"says something":    {"babble", `wrote "hello, I am not a plugin" where its handshake should be`, host.HealthBackOff},
		"exits":             {"quit", "exit status 3", host.HealthBackOff},
		"has another name":  {"controller", `calls itself "another", its entry "guest"`, host.HealthRefused},
		"is not executable": {"", "permission denied", host.HealthBackOff},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := spec(t, c.kind, "guest")
			switch name {
			case "has another name":
				s.Command[3] = "another"
			case "is not executable":
				s.Command[0] = filepath.Join(t.TempDir(), "text")
				if err := os.WriteFile(s.Command[0], []byte("text"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			r := start(t, func(cfg *host.Config) {
				if c.kind == "silent" {
					cfg.StartTimeout = 300 * time.Millisecond
				}
				cfg.Backoff = host.Backoff{Initial: time.Hour, Max: time.Hour}
			}, s)
			st := r.wait(t, "guest", func(st host.Status) bool {
				return st.Health == c.health && (c.health == host.HealthRefused || st.Restarts == 1)
			})
			if !strings.Contains(st.Reason, c.reason) {
				t.Errorf("reason: %q", st.Reason)
			}
			if c.kind == "quit" && !strings.Contains(strings.Join(st.LastOutput, "\n"), "can't find my keys") {
				t.Errorf("last lines: %q", st.LastOutput)
			}
		})
	}
}

func TestChecksumOfThirdPartyBinary(t *testing.T) {
	exe := self(t)
	f, err := os.Open(exe)
	if err != nil {
		t.Fatal(err)
	}
	hash := sha256.New()
	if _, err := io.Copy(hash, f); err != nil {
		t.Fatal(err)
	}
	_ = f.Close()
	right := hex.EncodeToString(hash.Sum(nil))
	wrong := strings.Repeat("ab", 32)

	third := func(name, sum string) host.Spec {
		return host.Spec{Name: name, Path: exe, Args: []string{"plugin", "controller", name}, SHA256: sum}
	}
	r := start(t, nil, third("good", right), third("evil", wrong))
	r.wait(t, "good", healthy)
	st := r.wait(t, "evil", func(st host.Status) bool { return st.Health == host.HealthRefused })
	for _, part := range []string{"wrong checksum of " + exe, "expected sha256 " + wrong, "actual " + right} {
		if !strings.Contains(st.Reason, part) {
			t.Errorf("reason lacks %q: %s", part, st.Reason)
		}
	}
	if good, _ := r.Status("good"); len(good.Granted) != 0 || len(good.Requested) != 1 {
		t.Errorf("a third party was granted what nobody granted: %+v", good.Granted)
	}
}

func TestSettingsAreCheckedByTheSchema(t *testing.T) {
	cases := map[string]struct{ settings, reason string }{
		"unknown field":     {`{"colour":"red"}`, "settings.colour"},
		"wrong type":        {`{"workers":"many"}`, "settings.workers"},
		"out of bounds":     {`{"workers":0}`, "settings.workers"},
		"not in the enum":   {`{"mode":"slow"}`, `supported values: "fast", "safe"`},
		"refused by plugin": {`{"odd":true}`, "settings.odd: odd is not supported"},
		"no object":         {`[1]`, "must be an object"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := spec(t, "controller", "steady")
			s.Settings = json.RawMessage(c.settings)
			r := start(t, nil, s)
			st := r.wait(t, "steady", func(st host.Status) bool { return st.Health == host.HealthRefused })
			if !strings.Contains(st.Reason, c.reason) {
				t.Errorf("reason: %q", st.Reason)
			}
		})
	}
}

func TestRestartOnRequest(t *testing.T) {
	r := start(t, nil, spec(t, "controller", "steady"))
	before := r.wait(t, "steady", healthy)
	if err := r.Restart("steady"); err != nil {
		t.Fatal(err)
	}
	after := r.wait(t, "steady", healthyAgain(1))
	if after.PID == before.PID || after.LastReason != "a restart was asked for" {
		t.Errorf("before %d after %d: %s", before.PID, after.PID, after.LastReason)
	}
	if err := r.Restart("nobody"); err == nil || !strings.Contains(err.Error(), `"nobody"`) {
		t.Errorf("restart of an unknown plugin: %v", err)
	}
}

func TestHungPluginIsReplaced(t *testing.T) {
	r := start(t, func(c *host.Config) { c.PingInterval = 50 * time.Millisecond }, spec(t, "controller", "steady"))
	st := r.wait(t, "steady", healthy)
	if err := syscall.Kill(st.PID, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	st = r.wait(t, "steady", healthyAgain(1))
	if !strings.Contains(st.LastReason, "health checks") {
		t.Errorf("reason: %s", st.LastReason)
	}
}

func TestStandbyHostWaitsForLeadership(t *testing.T) {
	r := start(t, func(c *host.Config) { c.Standby = true }, spec(t, "controller", "steady"))
	r.wait(t, "steady", func(st host.Status) bool { return st.Health == host.HealthStandby })
	r.SetLeading(true)
	r.wait(t, "steady", healthy)
	r.SetLeading(false)
	st := r.wait(t, "steady", func(st host.Status) bool { return st.Health == host.HealthStandby })
	if st.LastReason != "this host no longer leads" {
		t.Errorf("reason: %s", st.LastReason)
	}
}

// hostUntilKilled is the child of the next test.
func hostUntilKilled(dir string) {
	h, err := host.New(host.Config{
		Dir: dir, SocketPath: filepath.Join(dir, "api.sock"), Tokens: &tokens{},
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	if err == nil {
		exe, _ := os.Executable()
		err = errors.Join(
			h.Add(host.Spec{Name: "one", Command: []string{exe, "plugin", "controller", "one"}}),
			h.Add(host.Spec{Name: "two", Command: []string{exe, "plugin", "network", "two"}}),
		)
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	go func() {
		if err := h.WaitHealthy(context.Background()); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		for _, st := range h.List() {
			fmt.Println(st.PID)
		}
	}()
	_ = h.Run(context.Background())
}

func TestNoPluginOutlivesAKilledHost(t *testing.T) {
	dir, err := os.MkdirTemp("", "ph")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	cmd := exec.Command(self(t), "host", dir, "-")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var pids []int
	lines := bufio.NewScanner(out)
	for len(pids) < 2 && lines.Scan() {
		pid, err := strconv.Atoi(lines.Text())
		if err != nil {
			t.Fatal(lines.Text())
		}
		pids = append(pids, pid)
	}
	if len(pids) != 2 || !alive(pids[0]) || !alive(pids[1]) {
		t.Fatalf("plugins: %v", pids)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	eventually(t, time.Second, "end of the plugins", func() bool { return !alive(pids[0]) && !alive(pids[1]) })
	_ = cmd.Wait()
}

func TestSpecErrorsNamePluginAndField(t *testing.T) {
	cases := map[string]struct {
		spec host.Spec
		want string
	}{
		"bad name":         {host.Spec{Name: "A_b", Command: []string{"/x"}}, `plugin "A_b": name:`},
		"nothing to run":   {host.Spec{Name: "a"}, `plugin "a": path: exactly one of`},
		"relative path":    {host.Spec{Name: "a", Path: "x", SHA256: strings.Repeat("a", 64)}, `"x" is not an absolute path`},
		"no checksum":      {host.Spec{Name: "a", Path: "/x"}, `plugin "a": sha256: the checksum of a third-party binary is required`},
		"short checksum":   {host.Spec{Name: "a", Path: "/x", SHA256: "abcd"}, "not a SHA-256 sum"},
		"placement":        {host.Spec{Name: "a", Placement: "cloud"}, `placement: "cloud" is neither`},
		"builtin":          {host.Spec{Name: "a", Placement: host.Builtin}, "not linked into the host"},
		"settings no json": {host.Spec{Name: "a", Command: []string{"/x"}, Settings: []byte("{")}, "settings: not valid JSON"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if err := c.spec.Validate(); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}
