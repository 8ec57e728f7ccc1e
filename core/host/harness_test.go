package host_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pintle-dev/pintle/core/host"
	"github.com/pintle-dev/pintle/sdk/resource"
)

const patience = 20 * time.Second

func self(t testing.TB) string {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return exe
}

func spec(t testing.TB, kind, name string) host.Spec {
	return host.Spec{Name: name, Command: []string{self(t), "plugin", kind, name}}
}

// tokens is a stand-in for the API server's token store.
type tokens struct {
	mu    sync.Mutex
	users map[string]resource.User
}

func (s *tokens) Register(token string, u resource.User) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.users == nil {
		s.users = map[string]resource.User{}
	}
	s.users[token] = u
}

func (s *tokens) Revoke(token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.users, token)
}

func (s *tokens) user(token string) (resource.User, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	u, ok := s.users[token]
	return u, ok
}

type running struct {
	*host.Host
	dir    string
	tokens *tokens
	stop   func()
	ctx    context.Context
}

// start runs a host with the given plugins until the test ends.
func start(t testing.TB, tweak func(*host.Config), specs ...host.Spec) *running {
	t.Helper()
	return startWith(t, tweak, nil, specs...)
}

func startWith(t testing.TB, tweak func(*host.Config), before func(*host.Host), specs ...host.Spec) *running {
	t.Helper()
	dir, err := os.MkdirTemp("", "ph")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	tok := &tokens{}
	cfg := host.Config{
		Dir: dir, SocketPath: filepath.Join(dir, "api.sock"), Tokens: tok,
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	}
	if tweak != nil {
		tweak(&cfg)
	}
	h, err := host.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if before != nil {
		before(h)
	}
	for _, s := range specs {
		if err := h.Add(s); err != nil {
			t.Fatal(err)
		}
	}
	runCtx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- h.Run(runCtx) }()
	var once sync.Once
	stop := func() {
		once.Do(func() {
			cancel()
			if err := <-done; err != nil {
				t.Errorf("Run: %v", err)
			}
		})
	}
	t.Cleanup(stop)
	ctx, cancelCtx := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancelCtx)
	return &running{Host: h, dir: dir, tokens: tok, stop: stop, ctx: ctx}
}

func (r *running) wait(t testing.TB, name string, f func(host.Status) bool) host.Status {
	t.Helper()
	st, err := r.WaitFor(r.ctx, name, f)
	if err != nil {
		lines, _ := r.Logs(name, 50)
		t.Fatalf("%v\n%s", err, strings.Join(lines, "\n"))
	}
	return st
}

// report returns what a test controller wrote; ok is false until it has.
func (r *running) report(name string) (out report, ok bool) {
	raw, err := os.ReadFile(filepath.Join(r.dir, "plugins", name, "report"))
	return out, err == nil && json.Unmarshal(raw, &out) == nil
}

func healthy(st host.Status) bool { return st.Health == host.HealthHealthy }

func healthyAgain(restarts int) func(host.Status) bool {
	return func(st host.Status) bool { return healthy(st) && st.Restarts == restarts }
}

// eventually waits for what no one announces: a file, the end of a process.
func eventually(t *testing.T, within time.Duration, what string, f func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	end := time.After(within)
	for !f() {
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("not within %s: %s", within, what)
		}
	}
}

func alive(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return false
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, after, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(after, "Z")
}
