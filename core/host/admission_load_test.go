package host_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/pintle-dev/pintle/core/apiserver/apiservertest"
	"github.com/pintle-dev/pintle/core/host"
)

func TestAThousandWritesAtOnceThroughTwoAdmissionPlugins(t *testing.T) {
	g := guard(t, admissionSpec(t, "first"), admissionSpec(t, "second"))
	var all sync.WaitGroup
	var waiting atomic.Int64
	turn := make(chan struct{}, 150) // the server takes 200 writes at a time
	for range 1000 {
		all.Go(func() {
			turn <- struct{}{}
			defer func() { <-turn }()
			waiting.Add(1)
			a := g.Do("POST", cms, cm())
			if a.Code != 201 {
				t.Errorf("%d %s", a.Code, a.Message())
				return
			}
			if got := fmt.Sprint(apiservertest.At(a.Object(), "metadata.labels")); got != "map[first:was-here second:was-here]" {
				t.Errorf("labels: %s", got)
			}
		})
	}
	all.Wait()
	for _, name := range []string{"first", "second"} {
		for _, step := range []string{"mutate", "validate"} {
			if n := g.counted(t, "pintle_admission_plugin_duration_seconds", map[string]string{"plugin": name, "step": step, "outcome": "allowed"}); n != 1000 {
				t.Errorf("%s was asked to %s %v times", name, step, n)
			}
		}
	}
}

// While one instance follows another, no write fails and none is passed over.
func TestWritesGoOnWhileAnAdmissionPluginIsReplaced(t *testing.T) {
	s := admissionSpec(t, "guard", "TEST_REV=0")
	g := guard(t, s)
	stop := make(chan struct{})
	var writers sync.WaitGroup
	var written atomic.Int64
	for range 4 {
		writers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				a := g.Do("POST", cms, cm())
				if a.Code != 201 || apiservertest.At(a.Object(), "metadata.labels.guard") != "was-here" {
					t.Errorf("%d %s", a.Code, a.Message())
				}
				written.Add(1)
			}
		})
	}
	before := g.wait(t, "guard", healthy).PID
	for i := 1; i <= 3; i++ {
		s.Env = map[string]string{"TEST_REV": fmt.Sprint(i)}
		if err := g.Change(s); err != nil {
			t.Fatal(err)
		}
		before = g.wait(t, "guard", func(st host.Status) bool { return healthy(st) && st.PID != before && st.PID > 0 }).PID
	}
	close(stop)
	writers.Wait()
	if written.Load() == 0 {
		t.Error("nothing was written")
	}
}
