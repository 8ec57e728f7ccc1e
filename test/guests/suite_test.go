package guests

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pintle-dev/pintle/test/process"
)

// all is for a machine that does nothing else: make guests.
var all = flag.Bool("all", false, "all ways to misbehave, and others' latency held to twice that of quiet")

// slice are the modes that continuous integration has time for.
var slice = []string{"panic", "hang", "leak", "fork", "flood", "babble", "old", "claim", "greedy", "spy", "daemon", "hoard", "bulk"}

// misdeed is one way to misbehave.
type misdeed struct {
	mode string
	// calls makes clients use the guest's type meanwhile.
	calls bool
	// info is what an operator reads in pintle plugin info, and event the reason of an event,
	// which says the same, or what says.
	info, event, says string
	// later is the reason of an event that there is after check.
	later string
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
	{mode: "panic-review", calls: true, info: "panic: I was asked to review", event: "Panicked"},
	{mode: "hang", calls: true, info: "calls were not answered within 10s", event: "CallsUnanswered", stays: true},
	{mode: "hang-review", calls: true, info: "calls were not answered within 10s", event: "CallsUnanswered", stays: true},
	{mode: "leak", info: "killed by its memory limit of 512 MiB", event: "OOMKilled", needsRoot: true},
	{mode: "fork", info: "at its limit of 64 processes", event: "ProcessLimit", stays: true, needsRoot: true},
	{mode: "spin", info: "uses all of the CPU that it may", event: "CPULimit", stays: true, needsRoot: true},
	{mode: "hoard", info: "more than its limit of 64 MiB", event: "DiskLimit"},
	{mode: "hoard-nameless", info: "more than its limit of 64 MiB", event: "DiskLimit", needsRoot: true},
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
	{mode: "hooks", calls: true, info: "of its answers could not be used", event: "AnswersUnusable", stays: true},
	{mode: "bulk", calls: true, info: "a message of more than the 16 MiB", event: "Failed"},
	{mode: "claim", info: "configmaps", event: "Refused"},
	{mode: "claim-neighbour", info: "trials.panic.guests.example", event: "Refused"},
	{mode: "greedy", info: "secrets", event: "PermissionsPending", says: "permissions that nobody has granted", stays: true, check: checkGreedy},
	{mode: "peek", calls: true, info: "its calls wanted to read what it was not granted", event: "ReadsRefused", says: "get secrets", stays: true, check: checkPeek},
	{mode: "spy", stays: true, needsRoot: true, check: checkSpy},
	{mode: "deaf", stays: true, check: checkDeaf, later: "StopTimeout"},
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
	var felts []*felt
	for _, m := range chosen {
		t.Run(m.mode, func(t *testing.T) {
			if m.needsRoot && os.Geteuid() != 0 {
				t.Skip("limits and namespaces need root")
			}
			felts = append(felts, c.suffer(t, &m))
		})
	}
	c.load.checkNothingLost(t)
	if strings.Contains(c.Log(), "panic") && strings.Contains(c.Log(), "goroutine ") {
		t.Error("the server panicked")
	}
	if *all {
		fmt.Println(table(felts))
	}
}

// suffer lets a guest misbehave while others work.
func (c *cluster) suffer(t *testing.T, m *misdeed) *felt {
	words := ""
	f := c.compare(t, m, func() {
		words = c.explained(t, m)
		if m.check != nil {
			m.check(t, c)
		}
		if m.later != "" {
			text, err := c.event(t.Context(), m.mode, m.later, "")
			if err != nil {
				t.Error(err)
			}
			words = m.later + ": " + text
		}
	})
	f.words = words
	if !f.within() {
		t.Errorf("p99 of others is %s with it, and %s without", f.hostile.p99(), f.quiet.p99())
	}
	return f
}

// explained waits until the operator can read what is wrong, and returns that.
func (c *cluster) explained(t *testing.T, m *misdeed) (words string) {
	t.Helper()
	if m.info != "" {
		process.Eventually(t, 40*time.Second, "pintle plugin info says why", func() error {
			out := c.info(t, m.mode)
			for line := range strings.Lines(out) {
				if strings.Contains(line, m.info) {
					words = strings.Join(strings.Fields(line), " ")
					return nil
				}
			}
			return &unsaid{m.info, out}
		})
	}
	if m.event != "" {
		says := m.says
		if says == "" {
			says = m.info
		}
		process.Eventually(t, 40*time.Second, "event "+m.event, func() error {
			text, err := c.event(t.Context(), m.mode, m.event, says)
			if err == nil {
				words = m.event + ": " + text
			}
			return err
		})
	}
	if m.stays {
		c.awaitOneOf(t, m.mode, "Healthy", "Unhealthy")
	}
	return words
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
	if len(got) < 25 {
		t.Errorf("it tried only %v", got)
	}
	for what, err := range got {
		if may := strings.HasPrefix(what, "may "); may != (err == "<nil>") {
			t.Errorf("%s: %s", what, err)
		}
	}
}

// checkDeaf asks the guest to stop, which it does not hear.
func checkDeaf(t *testing.T, c *cluster) {
	c.restart(t, "deaf")
	process.Eventually(t, 30*time.Second, "it is killed", func() error {
		_, err := c.event(t.Context(), "deaf", "StopTimeout", "did not stop")
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
	c.become(t, &misdeed{mode: "fork"}, true)
	self := c.Dir + "/guest"
	process.Eventually(t, 20*time.Second, "the bomb has gone off", func() error {
		if n := running("bomb"); n < 8 {
			return &unsaid{"8 processes", strconv.Itoa(n)}
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
