package scheduler_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"

	"k8s.io/client-go/rest"

	"github.com/pintle-dev/pintle/plugins/scheduler"
	"github.com/pintle-dev/pintle/sdk/plugin"
)

// start runs a scheduler against a fake API until the test ends.
func start(t testing.TB, f *fakeAPI) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		err := scheduler.New().Schedule(ctx, plugin.Env{
			Config: &rest.Config{Host: f.URL}, Log: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		cancel()
		wg.Wait()
	})
}

func node(name, cpu string) string {
	return fmt.Sprintf(`{"metadata":{"name":%q,"uid":%q},"status":{"allocatable":{"cpu":%q,"memory":"64Gi","pods":"110"}}}`, name, name, cpu)
}

func pod(name, cpu string) string {
	return fmt.Sprintf(`{"metadata":{"name":%q,"namespace":"default","uid":%q},"spec":{"schedulerName":"default-scheduler","containers":[{"resources":{"requests":{"cpu":%q}}}]},"status":{"phase":"Pending"}}`, name, name, cpu)
}

func TestBindsAndTells(t *testing.T) {
	f := newFakeAPI(t)
	f.set(t, "nodes", node("n1", "4"))
	f.set(t, "pods", pod("before", "1"))
	start(t, f)
	f.wait(func() bool { return f.bindings["default/before"] == "n1" })
	f.set(t, "pods", pod("after", "1"))
	f.wait(func() bool { return f.bindings["default/after"] == "n1" && len(f.events) == 2 })
	e := f.events[1]
	if e.Reason != "Scheduled" || e.Type != "Normal" || e.Source.Component != "default-scheduler" ||
		!strings.HasPrefix(e.Message, "Successfully assigned default/") || !strings.HasSuffix(e.Message, " to n1") || e.InvolvedObject.Kind != "Pod" {
		t.Errorf("event: %+v", e)
	}
}

func TestRefusesThenBindsWhenThereIsRoom(t *testing.T) {
	const message = "0/1 nodes are available: 1 Insufficient cpu."
	f := newFakeAPI(t)
	f.set(t, "nodes", node("n1", "4"))
	f.set(t, "pods", pod("first", "3"))
	start(t, f)
	f.wait(func() bool { return f.bindings["default/first"] == "n1" })
	f.set(t, "pods", pod("second", "3"))
	f.wait(func() bool { return f.statuses["default/second"] == "False Unschedulable "+message })
	f.delete("pods", "default/first")
	f.wait(func() bool { return f.bindings["default/second"] == "n1" })
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, e := range f.events {
		if e.Reason == "FailedScheduling" && e.Type == "Warning" && e.Message == message {
			return
		}
	}
	t.Errorf("no event FailedScheduling in %+v", f.events)
}

func TestANewNodeHelps(t *testing.T) {
	f := newFakeAPI(t)
	start(t, f)
	f.set(t, "pods", pod("p", "3"))
	f.wait(func() bool {
		return f.statuses["default/p"] == "False Unschedulable no nodes available to schedule pods"
	})
	f.set(t, "nodes", node("n1", "4"))
	f.wait(func() bool { return f.bindings["default/p"] == "n1" })
}

func TestAFailedBindingIsTriedAgain(t *testing.T) {
	f := newFakeAPI(t)
	refused := 0
	f.bind = func(string, string) int {
		if refused < 1 {
			refused++
			return http.StatusInternalServerError
		}
		return 0
	}
	f.set(t, "nodes", node("n1", "4"))
	f.set(t, "pods", pod("p", "3"))
	start(t, f)
	f.wait(func() bool { return f.bindings["default/p"] == "n1" })
}

func TestOthersPodsAreLeftAlone(t *testing.T) {
	f := newFakeAPI(t)
	f.set(t, "nodes", node("n1", "4"))
	f.set(t, "pods", strings.Replace(pod("theirs", "1"), "default-scheduler", "another", 1))
	f.set(t, "pods", strings.Replace(pod("gated", "1"), `"containers"`, `"schedulingGates":[{"name":"g"}],"containers"`, 1))
	f.set(t, "pods", strings.Replace(pod("going", "1"), `"uid"`, `"deletionTimestamp":"2026-01-01T00:00:00Z","uid"`, 1))
	start(t, f)
	f.set(t, "pods", pod("ours", "1"))
	f.wait(func() bool { return f.bindings["default/ours"] == "n1" })
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.bindings) != 1 {
		t.Errorf("bindings: %v", f.bindings)
	}
}

// TestNeverTooMuch places more than fits, many bindings at a time, and checks that no
// node got more than it has and that all that fits was placed.
func TestNeverTooMuch(t *testing.T) {
	const nodes, pods = 20, 200
	f := newFakeAPI(t)
	for i := range nodes {
		f.set(t, "nodes", node(fmt.Sprint("n", i), "4"))
	}
	start(t, f)
	for i := range pods {
		f.set(t, "pods", pod(fmt.Sprint("p", i), "1"))
	}
	f.wait(func() bool { return len(f.bindings) == nodes*4 && len(f.statuses) == pods-nodes*4 })
	f.mu.Lock()
	defer f.mu.Unlock()
	on := map[string]int{}
	for _, n := range f.bindings {
		on[n]++
	}
	for n, count := range on {
		if count > 4 {
			t.Errorf("%s got %d", n, count)
		}
	}
}

func TestConfigure(t *testing.T) {
	tests := []struct{ settings, problem string }{
		{``, ""},
		{`{"schedulerNames":["a","b"],"bindConcurrency":8}`, ""},
		{`{"schedulerName":"a"}`, "schedulerName"},
		{`{"schedulerNames":[]}`, "schedulerNames"},
		{`{"bindConcurrency":0}`, "bindConcurrency"},
		{`{"percentageOfNodesToScore":101}`, "percentageOfNodesToScore"},
		{`{"podInitialBackoffSeconds":20}`, "podMaxBackoffSeconds"},
		{`{} {}`, "more than one"},
	}
	for _, tt := range tests {
		err := scheduler.New().Configure(context.Background(), []byte(tt.settings))
		if (err == nil) != (tt.problem == "") || (err != nil && !strings.Contains(err.Error(), tt.problem)) {
			t.Errorf("%s: %v", tt.settings, err)
		}
	}
}

// BenchmarkSchedule measures pods through the whole scheduler, with HTTP and the fake
// server in the same process.
func BenchmarkSchedule(b *testing.B) {
	f := newFakeAPI(b)
	for i := range 1000 {
		f.set(b, "nodes", node(fmt.Sprint("n", i), "32"))
	}
	start(b, f)
	b.ResetTimer()
	for i := range b.N {
		f.set(b, "pods", pod(fmt.Sprint("p", i), "1m"))
	}
	f.wait(func() bool { return len(f.bindings) == b.N })
}
