package robustness

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pintle-dev/pintle/test/robustness/check"
	"github.com/pintle-dev/pintle/test/robustness/cluster"
	"github.com/pintle-dev/pintle/test/robustness/fault"
	"github.com/pintle-dev/pintle/test/robustness/history"
	"github.com/pintle-dev/pintle/test/robustness/traffic"
)

// run is one run of a seed.
type run struct {
	t       *testing.T
	seed    uint64
	dir     string
	cluster *cluster.Cluster
	history *history.History
	target  traffic.Target
	// start is the revision before the traffic.
	start uint64
	rules check.Rules

	mu       sync.Mutex
	problems []check.Problem
}

// Numbers of a run that are not drawn.
const (
	clientCount  = 8
	watcherCount = 5
	names        = 5
)

func (r *run) problem(rule, format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.problems = append(r.problems, check.Problem{Rule: rule, Text: fmt.Sprintf(format, args...)})
}

func (r *run) rand(stream uint64) *rand.Rand { return rand.New(rand.NewPCG(r.seed, stream)) }

// prepare makes the namespaces and finds where the history begins.
func (r *run) prepare(ctx context.Context) error {
	for _, s := range r.cluster.Servers {
		r.target.URLs = append(r.target.URLs, s.URL())
	}
	r.target.Namespaces, r.target.Names = []string{"r0", "r1", "r2"}, names
	c, err := r.cluster.NewClient()
	if err != nil {
		return err
	}
	defer c.CloseIdleConnections()
	for _, n := range r.target.Namespaces {
		body := fmt.Sprintf(`{"apiVersion":"v1","kind":"Namespace","metadata":{"name":%q}}`, n)
		if _, err := fetch(ctx, c, http.MethodPost, r.target.URLs[0]+"/api/v1/namespaces", body); err != nil {
			return err
		}
	}
	r.target.Transactions = r.cluster.Serves(ctx, "/apis/core.pintle.dev/v1", "transactions")
	op := history.Operation{ID: r.history.NextID(), Kind: history.List}
	(&traffic.Client{HTTP: c, Target: &r.target, History: r.history, Rand: r.rand(0)}).Perform(ctx, &op)
	if op.Outcome != history.OK || op.Revision == 0 {
		return fmt.Errorf("the first list: %+v", op)
	}
	r.start = op.Revision
	return nil
}

func fetch(ctx context.Context, c *http.Client, method, url, body string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode >= 300 {
		err = fmt.Errorf("%s %s: %s: %.300s", method, url, resp.Status, b)
	}
	return b, err
}

// faults makes faults for a while, and heals everything.
func (r *run) faults(ctx context.Context, d time.Duration, pattern *regexp.Regexp) {
	env := &fault.Env{
		Cluster: r.cluster, Rand: r.rand(1), Note: r.history.Note,
		Forgot: func(s *cluster.Server) { r.rules.Expired[s.Index] = true },
	}
	if programs.jumps {
		env.Clock = func(s *cluster.Server, offset time.Duration) error {
			// The certificates are a few seconds old, and good for a year.
			r.rules.Unauthorized = r.rules.Unauthorized || offset < -time.Minute || offset > 300*24*time.Hour
			return s.SetClock(offset)
		}
	}
	var some []fault.Fault
	for _, f := range fault.For(fault.All(), len(r.cluster.Servers), programs.jumps) {
		if pattern.MatchString(f.Name) {
			some = append(some, f)
		}
	}
	within, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	if err := fault.Run(within, env, some); err != nil {
		r.problem("fault", "%v", err)
	}
	r.history.Note("heal")
	if err := r.cluster.Heal(); err != nil {
		r.problem("heal", "%v", err)
	}
	for _, s := range r.cluster.Servers {
		if !s.Running() {
			r.history.Note("start " + s.Name)
			if err := s.Start(); err != nil {
				r.problem("heal", "%v", err)
			}
		}
	}
	ready, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for _, s := range r.cluster.Servers {
		if err := s.WaitReady(ready); err != nil {
			r.problem("not available", "after all faults have ended: %v", err)
		}
	}
}

// traffic runs clients and watchers while something else happens, and returns when every
// watcher has seen everything.
func (r *run) traffic(ctx context.Context, during func()) error {
	var clients, watchers sync.WaitGroup
	clientCtx, stopClients := context.WithCancel(ctx)
	defer stopClients()
	watchCtx, stopWatchers := context.WithCancel(ctx)
	defer stopWatchers()
	var ws []*traffic.Watcher
	for i := range watcherCount {
		h, err := r.cluster.NewClient()
		if err != nil {
			return err
		}
		w := &traffic.Watcher{ID: i, HTTP: h, Target: &r.target, History: r.history, Rand: r.rand(100 + uint64(i))}
		if i == 0 {
			w.From = r.start
		}
		if i >= 2 {
			w.Namespace = r.target.Namespaces[i-2]
		}
		ws = append(ws, w)
		watchers.Go(func() { w.Run(watchCtx); h.CloseIdleConnections() })
	}
	pause := []time.Duration{3, 10, 25}[r.rand(6).IntN(3)] * time.Millisecond
	for i := range clientCount {
		h, err := r.cluster.NewClient()
		if err != nil {
			return err
		}
		c := &traffic.Client{
			ID: i, HTTP: h, Target: &r.target, History: r.history, Rand: r.rand(200 + uint64(i)),
			Pause: pause, Timeout: 3 * time.Second,
		}
		clients.Go(func() { c.Run(clientCtx); h.CloseIdleConnections() })
	}
	during()
	sleep(ctx, time.Second)
	stopClients()
	clients.Wait()
	fences, err := r.fence(ctx)
	if err != nil {
		return err
	}
	for _, w := range ws {
		want := fences[w.Namespace]
		for deadline := time.Now().Add(20 * time.Second); w.Seen() < want; sleep(ctx, 10*time.Millisecond) {
			if time.Now().After(deadline) {
				r.problem("watch stalls", "watcher %d (%q) has seen revision %d, and 20 s ago there was %d", w.ID, w.Namespace, w.Seen(), want)
				break
			}
		}
	}
	stopWatchers()
	watchers.Wait()
	return r.compare(ctx, fences[""])
}

// fence writes one object more in each namespace, and returns its revision; that of ""
// is the last.
func (r *run) fence(ctx context.Context) (map[string]uint64, error) {
	h, err := r.cluster.NewClient()
	if err != nil {
		return nil, err
	}
	defer h.CloseIdleConnections()
	c := &traffic.Client{ID: clientCount, HTTP: h, Target: &r.target, History: r.history, Rand: r.rand(2)}
	out := map[string]uint64{}
	deadline := time.Now().Add(20 * time.Second)
	for i, n := range r.target.Namespaces {
		for try := 0; out[n] == 0; try++ {
			op := history.Operation{ID: r.history.NextID(), Client: c.ID, Kind: history.Create, Server: (i + try) % len(r.target.URLs)}
			op.Changes = []history.Change{{Verb: history.Create, Key: history.Key(fmt.Sprintf("%s/fence-%d", n, try)), Content: fmt.Sprintf("%d.0", op.ID)}}
			call, cancel := context.WithTimeout(ctx, 3*time.Second)
			c.Perform(call, &op)
			cancel()
			op.Return = r.history.Now()
			r.history.Add(op)
			if op.Outcome == history.OK {
				out[n] = op.Changes[0].Result.Revision
				out[""] = max(out[""], out[n])
			} else if time.Now().After(deadline) {
				return nil, fmt.Errorf("no write succeeds 20 s after all faults have ended: %d %s", op.Status, op.Message)
			} else {
				sleep(ctx, 50*time.Millisecond)
			}
		}
	}
	return out, nil
}

// compare reads the end and the whole history from every server: all must have the same.
func (r *run) compare(ctx context.Context, fence uint64) error {
	h, err := r.cluster.NewClient()
	if err != nil {
		return err
	}
	defer h.CloseIdleConnections()
	var first []byte
	for i, s := range r.cluster.Servers {
		path := fmt.Sprintf("%s/api/v1/configmaps?resourceVersion=%d&resourceVersionMatch=Exact", s.URL(), fence)
		b, err := fetch(ctx, h, http.MethodGet, path, "")
		if err != nil {
			return err
		}
		if i == 0 {
			first = b
		} else if !bytes.Equal(b, first) {
			r.problem("replicas differ", "at revision %d:\n%s has %s\n%s has %s", fence, r.cluster.Servers[0].Name, first, s.Name, b)
		}
		only := r.target
		only.URLs, only.Base = []string{s.URL()}, i
		for _, at := range []string{"", "0", fmt.Sprint(fence)} {
			op := history.Operation{ID: r.history.NextID(), Client: clientCount, Kind: history.List, At: at}
			(&traffic.Client{HTTP: h, Target: &only, History: r.history, Rand: r.rand(3)}).Perform(ctx, &op)
			op.Return, op.Server = r.history.Now(), i
			r.history.Add(op)
		}
		w := &traffic.Watcher{ID: 10 + i, HTTP: h, Target: &only, History: r.history, Rand: r.rand(4), From: r.start}
		within, cancel := context.WithTimeout(ctx, 20*time.Second)
		done := make(chan struct{})
		go func() { w.Run(within); close(done) }()
		for w.Seen() < fence && within.Err() == nil {
			sleep(within, 10*time.Millisecond)
		}
		if within.Err() != nil {
			r.problem("watch stalls", "the history of %s ends at revision %d, not at %d", s.Name, w.Seen(), fence)
		}
		cancel()
		<-done
	}
	return nil
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// judge collects everything that must not have happened.
func (r *run) judge() check.Result {
	for _, s := range r.cluster.Servers {
		if s.NewState() {
			r.rules.Expired[s.Index] = true
		}
	}
	result := check.History(r.history, r.rules)
	for _, err := range r.cluster.Deaths() {
		r.problem("death", "%v", err)
	}
	for _, s := range r.cluster.Servers {
		if s.LogContains("WARNING: DATA RACE") {
			r.problem("log", "%s has a data race", s.Name)
		}
	}
	result.Problems = append(r.problems, result.Problems...)
	return result
}
