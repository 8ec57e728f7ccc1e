package guests

import (
	"context"
	"flag"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pintle-dev/pintle/test/process"
)

// Bounds of what others may feel: twice what it is in quiet, and never less than what the
// noise of a busy machine comes to. A measurement that does not hold is made again: what the
// machine does beside it is no guest's doing.
const (
	quietTime   = 1500 * time.Millisecond
	hostileTime = 3 * time.Second
	noiseFloor  = 10 * time.Millisecond
	// busyFloor is that of a machine on which other packages are tested at the same time.
	busyFloor = 250 * time.Millisecond
	tries     = 4
)

// all is for a machine that does nothing else: make guests.
var all = flag.Bool("all", false, "all ways to misbehave, and others' latency held to twice that of quiet")

// slice are the modes that continuous integration has time for.
var slice = []string{"panic", "hang", "leak", "fork", "flood", "babble", "old", "claim", "greedy", "spy", "daemon"}

// misdeed is one way to misbehave.
type misdeed struct {
	mode string
	// calls makes clients use the guest's type meanwhile.
	calls bool
	// info is what an operator reads in pintle plugin info, and event the reason of an event.
	info, event string
	// needsRoot: it rests on limits and namespaces.
	needsRoot bool
	// stays: the guest goes on as if nothing were.
	stays bool
	check func(t *testing.T, c *cluster)
}

var misdeeds = []misdeed{
	{mode: "panic", calls: true, info: "panic: I was asked to", event: "Panicked"},
	{mode: "panic-work", info: "panic: I was asked to work", event: "Panicked"},
	{mode: "panic-early", info: "panic: I was asked to configure", event: "Panicked"},
	{mode: "hang", calls: true, info: "calls were not answered within 10s", event: "CallsUnanswered", stays: true},
	{mode: "leak", info: "killed by its memory limit of 512 MiB", event: "OOMKilled", needsRoot: true},
	{mode: "fork", info: "at its limit of 64 processes", event: "ProcessLimit", stays: true, needsRoot: true},
	{mode: "spin", stays: true, needsRoot: true},
	{mode: "flood", info: "some was dropped", event: "OutputDropped", stays: true, check: checkFlood},
	{mode: "babble", info: "where its handshake should be", event: "Failed"},
	{mode: "quit", info: "exit status 3", event: "Died"},
	{mode: "old", info: "incompatible API version", event: "Refused"},
	{mode: "new", info: "incompatible API version", event: "Refused"},
	{mode: "elsewhere", info: "127.0.0.1:1", event: "Refused"},
	{mode: "mute", info: "connect", event: "Failed"},
	{mode: "noise", info: "connect", event: "Failed"},
	{mode: "half", info: "did not answer in time", event: "Failed"},
	{mode: "schema", info: "schema", event: "Refused"},
	{mode: "hooks", calls: true, stays: true},
	{mode: "claim", info: "configmaps", event: "Refused"},
	{mode: "claim-neighbour", info: "trials.panic.guests.example", event: "Refused"},
	{mode: "greedy", info: "secrets", event: "PermissionsPending", stays: true, check: checkGreedy},
	{mode: "peek", calls: true, stays: true, check: checkPeek},
	{mode: "spy", stays: true, needsRoot: true, check: checkSpy},
	{mode: "deaf", stays: true, check: checkDeaf},
	{mode: "daemon", info: "exit status 4", event: "Died", needsRoot: true, check: checkDaemon},
}

func TestGuestsDoNoHarm(t *testing.T) {
	var (
		modes  []string
		chosen []misdeed
	)
	for _, m := range misdeeds {
		if *all || slices.Contains(slice, m.mode) {
			modes, chosen = append(modes, m.mode), append(chosen, m)
		}
	}
	c := startCluster(t, modes...)
	for _, m := range chosen {
		t.Run(m.mode, func(t *testing.T) {
			if m.needsRoot && os.Geteuid() != 0 {
				t.Skip("limits and namespaces need root")
			}
			c.suffer(t, &m)
		})
	}
	c.load.checkNothingLost(t)
	if strings.Contains(c.Log(), "panic") && strings.Contains(c.Log(), "goroutine ") {
		t.Error("the server panicked")
	}
}

// suffer lets a guest misbehave while others work.
func (c *cluster) suffer(t *testing.T, m *misdeed) {
	for i := 1; ; i++ {
		quiet := c.load.run(t.Context(), quietTime)
		c.become(t, m.mode, true)
		stop := c.callAll(m)
		hostile := c.load.run(t.Context(), hostileTime)
		stop()
		t.Logf("quiet: %d requests, p50 %s, p99 %s; hostile: %d, %s, %s", quiet.requests, quiet.p50, quiet.p99, hostile.requests, hostile.p50, hostile.p99)
		for _, err := range append(quiet.errors, hostile.errors...) {
			t.Errorf("others felt: %v", err)
		}
		if i == 1 {
			c.explained(t, m)
			if m.check != nil {
				m.check(t, c)
			}
		}
		c.become(t, m.mode, false)
		c.awaitHealth(t, m.mode, "Healthy")
		floor := noiseFloor
		if !*all {
			floor = busyFloor
		}
		bound := max(2*quiet.p99, floor)
		if hostile.p99 <= bound {
			return
		}
		if i == tries {
			t.Errorf("p99 of others is %s, more than %s, in each of %d tries", hostile.p99, bound, tries)
			return
		}
	}
}

// explained waits until the operator can read what is wrong.
func (c *cluster) explained(t *testing.T, m *misdeed) {
	t.Helper()
	if m.info != "" {
		process.Eventually(t, 40*time.Second, "pintle plugin info says why", func() error {
			if out := c.info(t, m.mode); !strings.Contains(out, m.info) {
				return &unsaid{m.info, out}
			}
			return nil
		})
	}
	if m.event != "" {
		process.Eventually(t, 40*time.Second, "event "+m.event, func() error {
			_, err := c.event(t.Context(), m.mode, m.event)
			return err
		})
	}
	if m.stays {
		c.awaitOneOf(t, m.mode, "Healthy", "Unhealthy")
	}
}

func (c *cluster) awaitOneOf(t *testing.T, name string, healths ...string) {
	t.Helper()
	out := c.info(t, name)
	for _, h := range healths {
		if strings.Contains(out, h) {
			return
		}
	}
	t.Errorf("%s is none of %v:\n%s", name, healths, out)
}

type unsaid struct{ want, out string }

func (e *unsaid) Error() string { return "it lacks " + strconv.Quote(e.want) + ":\n" + e.out }

// callAll uses the guest's type until stop is called.
func (c *cluster) callAll(m *misdeed) (stop func()) {
	if !m.calls {
		return func() {}
	}
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for ctx.Err() == nil {
				_ = c.try(ctx, m.mode) // what becomes of it is the guest's business
				select {
				case <-time.After(20 * time.Millisecond):
				case <-ctx.Done():
				}
			}
		})
	}
	return func() {
		if m.mode != "hang" {
			cancel()
		}
		done := make(chan struct{})
		go func() { all.Wait(); close(done) }()
		if m.mode == "hang" {
			time.AfterFunc(15*time.Second, cancel)
			return
		}
		<-done
		cancel()
	}
}

func checkFlood(t *testing.T, c *cluster) {
	process.Eventually(t, 20*time.Second, "the log says what is missing", func() error {
		out, err := process.Run(t.Context(), nil, process.Pintle(), "plugin", "logs", "flood", "--data-dir", c.Data())
		if err != nil {
			return err
		}
		if !strings.Contains(out, "dropped ") {
			return &unsaid{"dropped ", out[max(0, len(out)-300):]}
		}
		return nil
	})
}

func checkGreedy(t *testing.T, c *cluster) {
	for what, got := range c.found(t, "greedy") {
		if !strings.Contains(got, "forbidden") {
			t.Errorf("%s: %s", what, got)
		}
	}
	if out := c.info(t, "greedy"); !strings.Contains(out, "secrets") {
		t.Errorf("what it asks for is not shown:\n%s", out)
	}
}

func checkPeek(t *testing.T, c *cluster) {
	if got := c.found(t, "peek"); strings.Contains(got["secret"], "treasure") || got["error"] == "<nil>" {
		t.Errorf("its hook read a secret that it was not granted: %v", got)
	}
}

func checkSpy(t *testing.T, c *cluster) {
	got := c.found(t, "spy")
	if len(got) < 15 {
		t.Errorf("it tried only %v", got)
	}
	for what, err := range got {
		if err == "<nil>" {
			t.Errorf("it could %s", what)
		}
	}
}

// checkDeaf asks the guest to stop, which it does not hear.
func checkDeaf(t *testing.T, c *cluster) {
	c.restart(t, "deaf")
	process.Eventually(t, 30*time.Second, "it is killed", func() error {
		_, err := c.event(t.Context(), "deaf", "StopTimeout")
		return err
	})
}

func checkDaemon(t *testing.T, _ *cluster) {
	process.Eventually(t, 2*time.Second, "the guest's daemon has ended", func() error {
		if n := running("7654321"); n > 0 {
			return &unsaid{"the end of the daemon", strconv.Itoa(n)}
		}
		return nil
	})
}

// running counts the processes with an argument.
func running(argument string) (n int) {
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		b, err := os.ReadFile("/proc/" + e.Name() + "/cmdline")
		if err == nil && strings.Contains(string(b), argument) {
			n++
		}
	}
	return n
}

// A server that is killed takes all guests along, and what they have started.
func TestKilledServerLeavesNoGuest(t *testing.T) {
	c := startCluster(t, "fork", "calm", "deaf")
	c.become(t, "fork", true)
	self := c.Dir + "/guest"
	process.Eventually(t, 20*time.Second, "the bomb has gone off", func() error {
		if n := running("bomb"); n < 20 {
			return &unsaid{"20 processes", strconv.Itoa(n)}
		}
		return nil
	})
	c.End(syscall.SIGKILL)
	process.Eventually(t, time.Second, "no guest is left", func() error {
		if n := running(self) + running("bomb"); n > 0 {
			return &unsaid{"no processes", strconv.Itoa(n)}
		}
		return nil
	})
	c.Start()
	c.awaitHealth(t, "calm", "Healthy")
}
