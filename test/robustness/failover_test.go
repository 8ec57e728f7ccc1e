package robustness

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pintle-dev/pintle/test/robustness/cluster"
)

// failoverBound is what an operator is promised: at the median, writes are acknowledged
// again so long after the leader died.
const failoverBound = 1500 * time.Millisecond

// TestFailover kills the leader again and again while a client writes through one server
// after the other, and measures for how long no write is acknowledged. None may be lost.
func TestFailover(t *testing.T) {
	if *tries == 0 {
		t.Skip("-tries says how often the leader is killed; make failover")
	}
	if programs.missing != "" {
		t.Skip("this machine lacks " + programs.missing)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	dir, err := os.MkdirTemp("", "f")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	c, err := cluster.New(ctx, cluster.Config{Dir: dir, Pintle: programs.pintle, FaultFS: programs.faultfs, Servers: 3})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if t.Failed() {
			for _, s := range c.Servers {
				t.Logf("%s:\n%s", s.Name, s.LogTail(30))
			}
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}()
	w := newWriter(t, c)
	measure(ctx, t, c, w, "kill -9", *tries, failoverBound, func(leader *cluster.Server) error { return leader.End(syscall.SIGKILL) },
		func(leader *cluster.Server) error { return leader.Start() })
	// Of a machine that is gone nobody hears that it is: the others have to wait for it.
	others := map[int][]int{0: {1, 2, -1}, 1: {0, 2, -1}, 2: {0, 1, -1}}
	measure(ctx, t, c, w, "cut off", *tries/2, 0, func(leader *cluster.Server) error {
		return c.Network.Cut(map[int][]int{leader.Index: others[leader.Index]})
	}, func(*cluster.Server) error { return c.Network.Cut(nil) })
	w.stop()
	if lost := w.lost(ctx); len(lost) > 0 {
		t.Errorf("%d of %d acknowledged writes are lost: %v", len(lost), len(w.acked), lost[:min(len(lost), 20)])
	} else {
		t.Logf("%d writes acknowledged, none of them lost", len(w.acked))
	}
}

// measure takes the leader away and gives it back, again and again.
func measure(ctx context.Context, t *testing.T, c *cluster.Cluster, w *writer, how string, tries int, bound time.Duration, take, give func(*cluster.Server) error) {
	t.Helper()
	var pauses []time.Duration
	for try := range tries {
		within, cancel := context.WithTimeout(ctx, time.Minute)
		if err := c.WaitWhole(within); err != nil {
			t.Fatal(err)
		}
		cancel()
		leader := c.Leader(ctx)
		if leader == nil {
			t.Fatal("nobody leads a whole cluster")
		}
		w.waitFor(ctx, 20)
		killed := time.Now()
		if err := take(leader); err != nil {
			t.Fatal(err)
		}
		first, err := w.firstAfter(ctx, killed)
		if err != nil {
			t.Fatalf("try %d: %v", try, err)
		}
		// From the last one before to the first that was begun and acknowledged after.
		pause := w.pauseAround(killed, first)
		t.Logf("%s, try %d: %s, no acknowledged write for %v", how, try, leader.Name, pause.Round(time.Millisecond))
		pauses = append(pauses, pause)
		if err := give(leader); err != nil {
			t.Fatal(err)
		}
	}
	if len(pauses) == 0 {
		return
	}
	slices.Sort(pauses)
	median := pauses[len(pauses)/2]
	t.Logf("%s, %d tries: median %v, 90th percentile %v, longest %v", how, len(pauses), median.Round(time.Millisecond),
		pauses[len(pauses)*9/10].Round(time.Millisecond), pauses[len(pauses)-1].Round(time.Millisecond))
	if bound > 0 && median > bound {
		t.Errorf("%s: the median is more than %v", how, bound)
	}
}

// writer writes through all servers in turn, with one client for each server so that none
// waits for another.
type writer struct {
	t       *testing.T
	cluster *cluster.Cluster
	clients []*http.Client
	done    sync.WaitGroup
	end     context.CancelFunc

	mu    sync.Mutex
	acked map[string]time.Time
	times []time.Time
}

func newWriter(t *testing.T, c *cluster.Cluster) *writer {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	w := &writer{t: t, cluster: c, end: cancel, acked: map[string]time.Time{}}
	for range c.Servers {
		h, err := c.NewClient()
		if err != nil {
			t.Fatal(err)
		}
		w.clients = append(w.clients, h)
	}
	// Three at a time, each through whichever server is next: what is measured is the
	// cluster, not the patience of one request.
	for i := range 3 {
		w.done.Go(func() { w.run(ctx, i) })
	}
	return w
}

func (w *writer) run(ctx context.Context, lane int) {
	for n := lane; ctx.Err() == nil; n++ {
		server := n % len(w.cluster.Servers)
		name := fmt.Sprintf("w%d-%d", lane, n)
		call, cancel := context.WithTimeout(ctx, 5*time.Second)
		_, err := fetch(call, w.clients[server], http.MethodPost, w.cluster.Servers[server].URL()+"/api/v1/namespaces/default/configmaps",
			fmt.Sprintf(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":%q}}`, name))
		cancel()
		if err != nil {
			sleep(ctx, 5*time.Millisecond)
			continue
		}
		w.mu.Lock()
		now := time.Now()
		w.acked[name] = now
		w.times = append(w.times, now)
		w.mu.Unlock()
		sleep(ctx, 5*time.Millisecond)
	}
}

// waitFor waits until n more writes are acknowledged.
func (w *writer) waitFor(ctx context.Context, n int) {
	w.mu.Lock()
	want := len(w.times) + n
	w.mu.Unlock()
	for ctx.Err() == nil {
		w.mu.Lock()
		have := len(w.times)
		w.mu.Unlock()
		if have >= want {
			return
		}
		sleep(ctx, 5*time.Millisecond)
	}
}

// firstAfter is the first write that the new leader must have acknowledged: a tenth of a
// second after the kill no answer of the old one is on its way any more.
func (w *writer) firstAfter(ctx context.Context, killed time.Time) (time.Time, error) {
	for deadline := killed.Add(30 * time.Second); time.Now().Before(deadline); sleep(ctx, time.Millisecond) {
		w.mu.Lock()
		for i := len(w.times) - 1; i >= 0 && w.times[i].After(killed); i-- {
			if w.times[i].After(killed.Add(100 * time.Millisecond)) {
				first := w.times[i]
				for _, at := range w.times[i:] {
					if at.Before(first) {
						first = at
					}
				}
				w.mu.Unlock()
				return first, nil
			}
		}
		w.mu.Unlock()
	}
	return time.Time{}, fmt.Errorf("no write was acknowledged within 30 s")
}

// pauseAround is the longest time without an acknowledged write between the kill and the
// first one after it.
func (w *writer) pauseAround(killed, first time.Time) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	last, longest := killed, time.Duration(0)
	for _, at := range w.times {
		if at.After(first) {
			break
		}
		if at.After(killed) {
			longest = max(longest, at.Sub(last))
			last = at
		}
	}
	return max(longest, first.Sub(last))
}

func (w *writer) stop() {
	w.end()
	w.done.Wait()
}

// lost are the acknowledged writes that a server does not have.
func (w *writer) lost(ctx context.Context) []string {
	w.t.Helper()
	within, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := w.cluster.WaitWhole(within); err != nil {
		w.t.Error(err)
	}
	var out []string
	for i, s := range w.cluster.Servers {
		b, err := fetch(within, w.clients[i], http.MethodGet, s.URL()+"/api/v1/namespaces/default/configmaps", "")
		if err != nil {
			w.t.Fatal(err)
		}
		have := string(b)
		for name := range w.acked {
			if !strings.Contains(have, `"name":"`+name+`"`) {
				out = append(out, filepath.Join(s.Name, name))
			}
		}
	}
	return out
}
