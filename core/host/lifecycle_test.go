package host_test

import (
	"context"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/pintle-dev/pintle/core/host"
)

// life is a plugin to which things happen, and what its operators want of it.
type life struct {
	*running
	t      *testing.T
	wanted host.Spec
	pids   map[int]bool
}

func (l *life) change(r *rapid.T, s host.Spec) {
	if err := l.Change(s); err != nil {
		r.Fatalf("change: %v", err)
	}
	l.wanted = s
}

// signal reaches the process that runs, if one does.
func (l *life) signal(sig syscall.Signal) {
	if st, err := l.Status("up"); err == nil && st.PID > 0 {
		_ = syscall.Kill(st.PID, sig) // it may have ended
	}
}

// Whatever operators and accidents do to a plugin, and however they overlap: it is never at
// work twice, what is wanted last is what runs in the end, and nothing of it is left behind.
func TestLifeCycle(t *testing.T) {
	if f := flag.Lookup("rapid.checks"); f.Value.String() == f.DefValue {
		if err := f.Value.Set("6"); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = f.Value.Set(f.DefValue) }()
	}
	rapid.Check(t, func(r *rapid.T) {
		first := versioned(t, "1.0.0")
		var types bundles
		l := &life{t: t, wanted: first, pids: map[int]bool{}, running: start(t, func(c *host.Config) {
			types.config(c)
			c.PingInterval = 20 * time.Millisecond
			c.StopTimeout, c.DrainTimeout = 500*time.Millisecond, 100*time.Millisecond
			c.Backoff = host.Backoff{Initial: time.Millisecond, Max: 20 * time.Millisecond}
		}, first)}
		defer l.stop()
		r.Repeat(map[string]func(*rapid.T){
			"upgrade": func(r *rapid.T) {
				s := l.wanted
				s.Env = map[string]string{"TEST_VERSION": rapid.SampledFrom([]string{"1.0.0", "2.0.0", "3.0.0", "crashes"}).Draw(r, "version")}
				s.Replacement.WatchPeriod = 30 * time.Millisecond
				s.Replacement.Strategy = rapid.SampledFrom([]host.ReplacementStrategy{host.HandOver, host.RestartFirst}).Draw(r, "strategy")
				l.change(r, s)
			},
			"settings": func(r *rapid.T) {
				s := l.wanted
				s.Settings = json.RawMessage(rapid.SampledFrom([]string{`{}`, `{"workers":1}`, `{"workers":2}`, `{"mode":"slow"}`, `{"odd":true}`}).Draw(r, "settings"))
				l.change(r, s)
			},
			"two operators": func(r *rapid.T) {
				var both sync.WaitGroup
				one, two := l.wanted, l.wanted
				one.Env, two.Env = map[string]string{"TEST_VERSION": "2.0.0"}, map[string]string{"TEST_VERSION": "3.0.0"}
				for _, s := range []host.Spec{one, two} {
					both.Go(func() { _ = l.Change(s) })
				}
				both.Wait()
				l.change(r, two)
			},
			"restart": func(*rapid.T) { _ = l.Restart("up") },
			"disable or enable": func(r *rapid.T) {
				s := l.wanted
				s.Disabled = !s.Disabled
				l.change(r, s)
			},
			"remove and add": func(r *rapid.T) {
				if err := l.Remove(l.ctx, "up"); err != nil {
					r.Fatalf("remove: %v", err)
				}
				l.gone(r)
				if err := l.Add(l.wanted); err != nil {
					r.Fatalf("add: %v", err)
				}
			},
			"kill":          func(*rapid.T) { l.signal(syscall.SIGKILL) },
			"hang":          func(*rapid.T) { l.signal(syscall.SIGSTOP) },
			"lose the lead": func(*rapid.T) { l.SetLeading(false) },
			"lead":          func(*rapid.T) { l.SetLeading(true) },
			"time":          pass,
			"more time":     pass,
			"a while":       l.settle,
			"":              l.alone,
		})
		// In the end there is a wish that can be carried out, and a host that leads.
		l.SetLeading(true)
		last := versioned(t, "4.0.0")
		last.Replacement.WatchPeriod = 10 * time.Millisecond
		l.change(r, last)
		st, err := l.WaitFor(l.ctx, "up", func(st host.Status) bool {
			c, _ := st.Condition(host.ConditionUpgraded)
			return serves("4.0.0")(st) && c.Reason == "Proven" && strings.Contains(c.Message, "4.0.0")
		})
		if err != nil {
			lines, _ := l.Logs("up", 30)
			r.Fatalf("%v: %+v\n%s", err, st.Conditions, strings.Join(lines, "\n"))
		}
		if last := st.History[len(st.History)-1]; last.Version != "4.0.0" || last.State != host.RevisionServing {
			r.Errorf("the history ends with %+v", last)
		}
		if err := l.Remove(l.ctx, "up"); err != nil {
			r.Fatalf("remove: %v", err)
		}
		l.gone(r)
		l.alone(r)
	})
}

// pass lets some time go, in which what was asked for gets somewhere.
func pass(r *rapid.T) {
	time.Sleep(time.Duration(rapid.IntRange(1, 100).Draw(r, "ms")) * time.Millisecond)
}

// settle lets the plugin come to rest, where it does so soon.
func (l *life) settle(*rapid.T) {
	ctx, cancel := context.WithTimeout(l.ctx, time.Second)
	defer cancel()
	_, _ = l.WaitFor(ctx, "up", func(st host.Status) bool {
		return st.Health == host.HealthDisabled || healthy(st) && !upgraded("InProgress")(st)
	})
}

// alone checks that no two instances have ever been at work at a time.
func (l *life) alone(r *rapid.T) {
	if _, err := os.Stat(filepath.Join(l.dir, "plugins", "up", "two-at-work")); err == nil {
		r.Fatal("two were at work")
	}
}

// gone checks that no process of the plugin is left.
func (l *life) gone(r *rapid.T) {
	raw, _ := os.ReadFile(filepath.Join(l.dir, "plugins", "up", "pids"))
	for _, line := range strings.Fields(string(raw)) {
		if pid, err := strconv.Atoi(line); err == nil && alive(pid) {
			r.Errorf("process %d is left", pid)
		}
	}
}

// atWork makes sure that nobody else is at work in a plugin's directory.
func atWork(dir string) (done func(), err error) {
	f, err := os.OpenFile(filepath.Join(dir, "at-work"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) != nil {
		return nil, os.WriteFile(filepath.Join(dir, "two-at-work"), nil, 0o600)
	}
	return func() { _ = f.Close() }, nil
}
