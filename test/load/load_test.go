package load

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/pintle-dev/pintle/test/process"
)

const (
	// maxStart is from the start of the process to readiness.
	maxStart = 3 * time.Second
	// maxGrowth is what ten clients that list everything may cost in memory, in MiB.
	maxGrowth = 64
	listers   = 10
	// maxDrift is by how much memory and disk of the last third of a long run may be above
	// those of the third before.
	maxDrift = 1.15
)

// TestLoad fills a server, starts it again, lets clients list everything, and writes for as
// long as -minutes says.
func TestLoad(t *testing.T) {
	s := process.Start(t, process.Pintle(), "plugins: []\nstore: {historyWindow: 1m}\n")
	c := newClient(t, s, 8)
	begin := time.Now()
	create(t, c, *objects)
	took := time.Since(begin)
	t.Logf("%d objects created in %s, %.0f a second; %.0f MiB memory (%.0f anonymous), %.0f MiB disk", *objects, took.Round(time.Millisecond),
		float64(*objects)/took.Seconds(), memoryOf(t, s.PID()).pss, memoryOf(t, s.PID()).anonymous, diskOf(s.Data()))
	restarts(t, s)
	lists(t, s)
	if *minutes > 0 {
		writes(t, s)
	}
}

// restarts ends the server, gently and not, and starts it again.
func restarts(t *testing.T, s *process.Server) {
	t.Helper()
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		s.End(sig)
		begin := time.Now()
		s.Start()
		took := time.Since(begin)
		t.Logf("ready %s after the start (ended by %v); %.0f MiB memory (%.0f anonymous)", took.Round(time.Millisecond), sig, memoryOf(t, s.PID()).pss, memoryOf(t, s.PID()).anonymous)
		if took > maxStart {
			t.Errorf("the start took %s, more than %s", took, maxStart)
		}
	}
}

// lists lets ten clients list everything at once.
func lists(t *testing.T, s *process.Server) {
	t.Helper()
	c := newClient(t, s, listers)
	// Once before, so that what a first list sets up is not counted.
	if status, _, text := c.do(t, http.MethodGet, collection+"?limit=500", nil); status != http.StatusOK {
		t.Fatal(status, text)
	}
	before, peak := memoryOf(t, s.PID()), memory{}
	done, sampled := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(sampled)
		for tick := time.NewTicker(50 * time.Millisecond); ; {
			select {
			case <-tick.C:
				m := memoryOf(t, s.PID())
				peak.pss, peak.anonymous = max(peak.pss, m.pss), max(peak.anonymous, m.anonymous)
			case <-done:
				tick.Stop()
				return
			}
		}
	}()
	begin := time.Now()
	var bytes atomic.Int64
	var wg sync.WaitGroup
	for range listers {
		wg.Go(func() {
			status, n, text := c.do(t, http.MethodGet, collection, nil)
			if status != http.StatusOK {
				t.Errorf("list: %d %s", status, text)
			}
			bytes.Add(n)
		})
	}
	wg.Wait()
	close(done)
	<-sampled
	t.Logf("%d lists of %d MiB in %s; memory %.0f → %.0f MiB, anonymous %.0f → %.0f", listers, bytes.Load()/listers>>20,
		time.Since(begin).Round(time.Millisecond), before.pss, peak.pss, before.anonymous, peak.anonymous)
	if grown := peak.anonymous - before.anonymous; grown > maxGrowth {
		t.Errorf("memory grew by %.0f MiB, more than %d", grown, maxGrowth)
	}
}

// writes updates objects at a steady rate, and looks at memory and disk.
func writes(t *testing.T, s *process.Server) {
	t.Helper()
	c := newClient(t, s, 8)
	end := time.Now().Add(time.Duration(*minutes * float64(time.Minute)))
	due := make(chan int, 1000)
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			for i := range due {
				name := i * 7919 % *objects
				path := collection + "/" + objectName(name)
				if status, _, text := c.do(t, http.MethodPut, path, object(name, i)); status != http.StatusOK {
					t.Errorf("update %d: %d %s", name, status, text)
				}
			}
		})
	}
	type sample struct {
		memory
		disk float64
	}
	var samples []sample
	written := 0
	for second := time.NewTicker(time.Second); time.Now().Before(end) && !t.Failed(); <-second.C {
		for range *rate {
			due <- written
			written++
		}
		samples = append(samples, sample{memoryOf(t, s.PID()), diskOf(filepath.Join(s.Data()))})
		if x := samples[len(samples)-1]; len(samples)%20 == 0 {
			fmt.Fprintf(os.Stderr, "%d writes: %.0f MiB memory (%.0f anonymous), %.0f MiB disk\n", written, x.pss, x.anonymous, x.disk)
		}
	}
	close(due)
	wg.Wait()
	third := len(samples) / 3
	for name, of := range map[string]func(sample) float64{
		"anonymous memory": func(x sample) float64 { return x.anonymous },
		"memory":           func(x sample) float64 { return x.pss },
		"disk":             func(x sample) float64 { return x.disk },
	} {
		highest := func(part []sample) (m float64) {
			for _, x := range part {
				m = max(m, of(x))
			}
			return m
		}
		parts := slices.Collect(slices.Chunk(samples, max(third, 1)))
		if len(parts) < 3 {
			continue
		}
		a, b, last := highest(parts[0]), highest(parts[1]), highest(parts[2])
		t.Logf("%s: at most %.0f, %.0f and %.0f MiB in the thirds of %.1f minutes with %d writes", name, a, b, last, *minutes, written)
		if *minutes >= 5 && last > b*maxDrift {
			t.Errorf("%s grows: %.0f MiB after %.0f", name, last, b)
		}
	}
}
