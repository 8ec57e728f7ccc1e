package robustness

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/pintle-dev/pintle/test/robustness/check"
	"github.com/pintle-dev/pintle/test/robustness/cluster"
	"github.com/pintle-dev/pintle/test/robustness/history"
)

// TestRobustness makes runs of traffic and faults. Each says its seed; a run with the same
// seed has the same traffic and faults, though not the same timing.
func TestRobustness(t *testing.T) {
	if programs.missing != "" {
		t.Skip("this machine lacks " + programs.missing)
	}
	first := *seed
	if first == 0 {
		first = uint64(time.Now().UnixNano() / 1e6 % 1e9)
	}
	for i := range *runs {
		s := first + uint64(i)
		t.Run(fmt.Sprint(s), func(t *testing.T) { runSeed(t, s) })
	}
}

func runSeed(t *testing.T, seed uint64) {
	ctx, cancel := context.WithTimeout(t.Context(), *duration+4*time.Minute)
	defer cancel()
	dir, err := os.MkdirTemp("", "r") // t.TempDir's paths are long for sockets
	if err != nil {
		t.Fatal(err)
	}
	r := &run{t: t, seed: seed, dir: dir, history: history.New(seed), rules: check.Rules{Timeout: 2 * time.Minute, Expired: map[int]bool{}}}
	r.cluster, err = cluster.New(ctx, cluster.Config{
		Dir: dir, Pintle: programs.pintle, FaultFS: programs.faultfs, Servers: *servers, Strict: seed%2 == 1,
		More: settings(r.rand(5)),
	})
	if err != nil {
		t.Fatalf("seed %d: %v", seed, err)
	}
	begin := time.Now()
	err = r.prepare(ctx)
	if err == nil {
		err = r.traffic(ctx, func() { r.faults(ctx, *duration, regexp.MustCompile(*only)) })
	}
	if err != nil {
		r.problem("run", "%v", err)
	}
	took := time.Since(begin)
	begin = time.Now()
	result := r.judge()
	if err := r.cluster.Close(); err != nil {
		r.t.Errorf("closing: %v", err)
	}
	counts := map[history.Outcome]int{}
	for _, op := range r.history.Operations {
		counts[op.Outcome]++
	}
	t.Logf("seed %d: %d operations %v, %d changes, %d watches, %d in order; ran %v, judged in %v", seed, len(r.history.Operations),
		counts, result.Changes, len(r.history.Watches), result.Ordered, took.Round(time.Millisecond), time.Since(begin).Round(time.Millisecond))
	if result.Hole != "" {
		t.Logf("seed %d: judged by answers only: every server had lost %s", seed, result.Hole)
	}
	if testing.Verbose() {
		for _, n := range r.history.Notes {
			t.Logf("%10v %s", time.Duration(n.At).Round(time.Millisecond), n.Text)
		}
	}
	if counts[history.OK] < 100 {
		t.Errorf("seed %d: only %d operations succeeded", seed, counts[history.OK])
	}
	if len(result.Problems) == 0 {
		if !t.Failed() {
			_ = os.RemoveAll(dir)
		}
		return
	}
	r.keep(result)
}

// settings draws how much the servers keep in memory: with little of it, lists come from disk
// and slow watches from the history.
func settings(r *rand.Rand) string {
	cache := []string{"64Mi", "256Ki", "16Ki"}[r.IntN(3)]
	events := []string{"16Mi", "128Ki", "4Ki"}[r.IntN(3)]
	return fmt.Sprintf("store: {cache: %s, events: %s}\n", cache, events)
}

// keep leaves what is needed to look at a failed run.
func (r *run) keep(result check.Result) {
	r.t.Helper()
	base := *out
	if base == "" {
		base = filepath.Join(os.TempDir(), "pintle-robustness")
	}
	to := filepath.Join(base, fmt.Sprintf("seed-%d", r.seed))
	var b strings.Builder
	fmt.Fprintf(&b, "seed %d, %d servers, %v of faults\n\n", r.seed, len(r.cluster.Servers), *duration)
	for _, p := range result.Problems {
		fmt.Fprintf(&b, "%s\n\n", p)
	}
	b.WriteString("what was done:\n")
	for _, n := range r.history.Notes {
		fmt.Fprintf(&b, "%12v %s\n", time.Duration(n.At).Round(time.Millisecond), n.Text)
	}
	err := func() error {
		if err := os.RemoveAll(to); err != nil {
			return err
		}
		if err := os.MkdirAll(base, 0o700); err != nil {
			return err
		}
		if err := os.Rename(r.dir, to); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(to, "problems.txt"), []byte(b.String()), 0o600); err != nil {
			return err
		}
		if err := r.history.Write(filepath.Join(to, "history.json")); err != nil {
			return err
		}
		if result.Linearizability == nil {
			return nil
		}
		f, err := os.Create(filepath.Join(to, "order.html"))
		if err != nil {
			return err
		}
		defer f.Close()
		return result.Linearizability.Visualize(f)
	}()
	if err != nil {
		r.t.Error(err)
	}
	r.t.Errorf("SEED %d FAILED; all there is to see of it is in %s\n%s", r.seed, to, b.String())
}

// TestJudgeAgain checks a history that was kept.
func TestJudgeAgain(t *testing.T) {
	path := os.Getenv("HISTORY")
	if path == "" {
		t.Skip("HISTORY names no history.json")
	}
	h, err := history.Read(path)
	if err != nil {
		t.Fatal(err)
	}
	// What the run knows of its faults is not in the file: all of it is allowed.
	rules := check.Rules{Timeout: 2 * time.Minute, Expired: map[int]bool{0: true, 1: true, 2: true}, Unauthorized: true}
	result := check.History(h, rules)
	if result.Hole != "" {
		t.Logf("judged by answers only: no watch has %s", result.Hole)
	}
	for _, p := range result.Problems {
		t.Error(p)
	}
}
