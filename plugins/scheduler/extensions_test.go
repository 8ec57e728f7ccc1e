package scheduler_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/pintle-dev/pintle/plugins/scheduler"
	"github.com/pintle-dev/pintle/sdk/peers"
	"github.com/pintle-dev/pintle/sdk/plugin"
	"github.com/pintle-dev/pintle/sdk/plugintest"
	"github.com/pintle-dev/pintle/sdk/remote"
	"github.com/pintle-dev/pintle/sdk/scheduling"
)

// directory is what a host would be: it starts and stops extensions, over gRPC.
type directory struct {
	t  testing.TB
	mu sync.Mutex
	// running are the extensions, by name; nil while one is away.
	running map[string]*plugintest.Harness
	session map[string]uint64
	changed chan struct{}
}

func newDirectory(t testing.TB) *directory {
	return &directory{t: t, running: map[string]*plugintest.Harness{}, session: map[string]uint64{}, changed: make(chan struct{})}
}

func (d *directory) start(impl scheduling.Extension) {
	d.t.Helper()
	h := plugintest.Start(d.t, impl)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.running[impl.Info().Name] = h
	d.session[impl.Info().Name]++
	close(d.changed)
	d.changed = make(chan struct{})
}

func (d *directory) kill(name string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.running[name].Kill()
	d.running[name] = nil
	close(d.changed)
	d.changed = make(chan struct{})
}

func (d *directory) Watch(ctx context.Context, f func([]peers.Peer)) error {
	for {
		d.mu.Lock()
		var list []peers.Peer
		for name, h := range d.running {
			list = append(list, peers.Peer{Name: name, Available: h != nil, Session: d.session[name]})
		}
		changed := d.changed
		d.mu.Unlock()
		f(list)
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (d *directory) Connect(ctx context.Context, name string) (*remote.Scheduling, error) {
	d.mu.Lock()
	h := d.running[name]
	d.mu.Unlock()
	if h == nil {
		return nil, errors.New("away")
	}
	part, _, err := h.Client.Scheduling(ctx)
	return part, err
}

// startExtended runs a scheduler that finds extensions in d, until the test ends.
func startExtended(t testing.TB, f *fakeAPI, d *directory, settings string) {
	t.Helper()
	s := scheduler.New()
	if err := s.Configure(t.Context(), []byte(settings)); err != nil {
		t.Fatal(err)
	}
	s.Extend(d)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := s.Schedule(ctx, plugin.Env{Config: &rest.Config{Host: f.URL}, Log: slog.New(slog.DiscardHandler)}); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		cancel()
		wg.Wait()
	})
}

// extension is what all extensions here have.
type extension struct {
	name     string
	concerns scheduling.Concerns
}

func (e extension) Info() plugin.Info                       { return plugin.Info{Name: e.name, Version: "1.0.0"} }
func (e extension) ConfigSchema() []byte                    { return nil }
func (e extension) Configure(context.Context, []byte) error { return nil }
func (e extension) Concerns() scheduling.Concerns           { return e.concerns }

// judge filters and scores by a function of one node.
type judge struct {
	extension
	judge func(pod *v1.Pod, n *scheduling.Node) (reason string, score int64)

	mu    sync.Mutex
	asked []string // pods
	nodes int      // most nodes in one question
}

func (j *judge) Filter(_ context.Context, pod *v1.Pod, nodes []*scheduling.Node) ([]scheduling.Verdict, error) {
	j.mu.Lock()
	j.asked = append(j.asked, pod.Name)
	j.nodes = max(j.nodes, len(nodes))
	j.mu.Unlock()
	out := make([]scheduling.Verdict, len(nodes))
	for i, n := range nodes {
		reason, _ := j.judge(pod, n)
		if reason == "error" {
			return nil, errors.New("prices are not known")
		}
		out[i] = scheduling.Refuse(reason)
	}
	return out, nil
}

func (j *judge) Score(_ context.Context, pod *v1.Pod, nodes []*scheduling.Node) ([]int64, error) {
	out := make([]int64, len(nodes))
	for i, n := range nodes {
		_, out[i] = j.judge(pod, n)
	}
	return out, nil
}

func labelled(name, cpu, label, value string) string {
	return strings.Replace(node(name, cpu), `"uid"`, fmt.Sprintf(`"labels":{%q:%q},"annotations":{%q:%q},"uid"`, label, value, label, value), 1)
}

func podWith(name, key, value string) string {
	return strings.Replace(pod(name, "1"), `"uid"`, fmt.Sprintf(`"labels":{%q:%q},"uid"`, key, value), 1)
}

const settingsIgnore = `{"extensions":[{"plugin":"x","failurePolicy":"Ignore"}]}`

func TestScoresDecide(t *testing.T) {
	f, d := newFakeAPI(t), newDirectory(t)
	for _, n := range []string{"dear", "cheap", "middle"} {
		f.set(t, "nodes", labelled(n, "64", "price", map[string]string{"dear": "1", "middle": "50", "cheap": "100"}[n]))
	}
	d.start(&judge{extension: extension{name: "x"}, judge: func(_ *v1.Pod, n *scheduling.Node) (string, int64) {
		var score int64
		_, _ = fmt.Sscan(n.Annotations["price"], &score)
		return "", score
	}})
	startExtended(t, f, d, `{"extensions":[{"plugin":"x","weight":10}]}`)
	for i := range 20 {
		f.set(t, "pods", pod(fmt.Sprint("p", i), "1"))
	}
	f.wait(func() bool { return len(f.bindings) == 20 })
	for p, n := range f.bindings {
		if n != "cheap" {
			t.Errorf("%s is on %s", p, n)
		}
	}
	// A node that changes is seen as it is now.
	f.set(t, "nodes", labelled("dear", "64", "price", "100"))
	f.set(t, "nodes", labelled("cheap", "64", "price", "2"))
	after := 0
	eventually(t, func() bool { // nodes and pods come by watches of their own
		after++
		name := fmt.Sprint("after", after)
		f.set(t, "pods", pod(name, "1m"))
		f.wait(func() bool { return f.bindings["default/"+name] != "" })
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.bindings["default/"+name] == "dear"
	})
}

func TestFiltersRefuseAsKubeSchedulerWordsIt(t *testing.T) {
	const message = "0/3 nodes are available: 1 Insufficient cpu, 2 node(s) cost too much."
	f, d := newFakeAPI(t), newDirectory(t)
	f.set(t, "nodes", node("small", "0"))
	f.set(t, "nodes", labelled("n1", "64", "price", "9"))
	f.set(t, "nodes", labelled("n2", "64", "price", "9"))
	j := &judge{extension: extension{name: "x"}, judge: func(_ *v1.Pod, n *scheduling.Node) (string, int64) {
		if n.Labels["price"] == "9" {
			return "node(s) cost too much", 0
		}
		return "", 0
	}}
	d.start(j)
	startExtended(t, f, d, `{"extensions":[{"plugin":"x"}]}`)
	f.set(t, "pods", pod("p", "1"))
	f.wait(func() bool { return f.statuses["default/p"] == "False Unschedulable "+message })
	f.set(t, "nodes", labelled("n2", "64", "price", "1"))
	f.wait(func() bool { return f.bindings["default/p"] == "n2" })
	f.mu.Lock()
	defer f.mu.Unlock()
	if !slices.ContainsFunc(f.events, func(e v1.Event) bool { return e.Reason == "FailedScheduling" && e.Message == message }) {
		t.Errorf("events: %+v", f.events)
	}
	if j.nodes != 2 {
		t.Errorf("it was asked about %d nodes, 2 fit", j.nodes)
	}
}

func TestOnlyPodsThatConcernAnExtensionAreAskedAbout(t *testing.T) {
	for name, concerns := range map[string]scheduling.Concerns{
		"labels":     {Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"ask": "yes"}}},
		"namespaces": {Namespaces: []string{"theirs"}},
		"schedulers": {SchedulerNames: []string{"second"}},
	} {
		t.Run(name, func(t *testing.T) {
			f, d := newFakeAPI(t), newDirectory(t)
			f.set(t, "nodes", node("n1", "64"))
			j := &judge{extension: extension{name: "x", concerns: concerns}, judge: func(*v1.Pod, *scheduling.Node) (string, int64) { return "", 0 }}
			d.start(j)
			startExtended(t, f, d, `{"schedulerNames":["default-scheduler","second"],"extensions":[{"plugin":"x"}]}`)
			theirs := podWith("theirs", "ask", "yes")
			theirs = strings.Replace(theirs, `"namespace":"default"`, `"namespace":"theirs"`, 1)
			theirs = strings.Replace(theirs, "default-scheduler", "second", 1)
			f.set(t, "pods", theirs)
			f.wait(func() bool { return len(f.bindings) == 1 })
			f.set(t, "pods", pod("ours", "1"))
			f.set(t, "pods", strings.Replace(theirs, `"namespace":"theirs"`, `"namespace":"kube-system"`, 1))
			f.wait(func() bool { return f.bindings["default/ours"] != "" })
			j.mu.Lock()
			defer j.mu.Unlock()
			if len(j.asked) != 1 || j.asked[0] != "theirs" {
				t.Errorf("asked about %v", j.asked)
			}
		})
	}
}

func TestAnExtensionThatIsAwayIsWaitedForOrPassedOver(t *testing.T) {
	const away = `False SchedulerError scheduling plugin "x" is not running: the pod waits for it, as its failurePolicy is Fail`
	pass := func(*v1.Pod, *scheduling.Node) (string, int64) { return "", 0 }
	t.Run("Fail", func(t *testing.T) {
		f, d := newFakeAPI(t), newDirectory(t)
		f.set(t, "nodes", node("n1", "64"))
		f.set(t, "pods", strings.ReplaceAll(pod("dns", "1"), "default\"", "kube-system\""))
		startExtended(t, f, d, `{"extensions":[{"plugin":"x"}]}`)
		f.set(t, "pods", pod("before", "1"))
		f.wait(func() bool { return f.statuses["default/before"] == away && f.bindings["kube-system/dns"] == "n1" })
		d.start(&judge{extension: extension{name: "x"}, judge: pass})
		f.wait(func() bool { return f.bindings["default/before"] == "n1" })
		d.kill("x")
		f.set(t, "pods", pod("after", "1"))
		f.wait(func() bool { return strings.Contains(f.statuses["default/after"], `scheduling plugin "x"`) })
		d.start(&judge{extension: extension{name: "x"}, judge: pass})
		f.wait(func() bool { return f.bindings["default/after"] == "n1" })
	})
	t.Run("Ignore", func(t *testing.T) {
		f, d := newFakeAPI(t), newDirectory(t)
		f.set(t, "nodes", node("n1", "64"))
		startExtended(t, f, d, settingsIgnore)
		f.set(t, "pods", pod("before", "1"))
		f.wait(func() bool { return f.bindings["default/before"] == "n1" })
	})
}

func TestAnExtensionThatFailsIsNamed(t *testing.T) {
	fails := &judge{extension: extension{name: "x"}, judge: func(*v1.Pod, *scheduling.Node) (string, int64) { return "error", 0 }}
	invalid := &judge{extension: extension{name: "x"}, judge: func(*v1.Pod, *scheduling.Node) (string, int64) { return "", 101 }}
	for name, tc := range map[string]struct {
		impl scheduling.Extension
		want string
	}{
		"an error":         {fails, `False SchedulerError running scheduling plugin "x": prices are not known`},
		"an invalid score": {invalid, `False SchedulerError running scheduling plugin "x": the plugin gave the invalid score 101: 0 to 100 are possible`},
		"no answer":        {&hanging{extension{name: "x"}}, `False SchedulerError running scheduling plugin "x": the plugin did not answer within 1s: context deadline exceeded`},
	} {
		t.Run(name, func(t *testing.T) {
			f, d := newFakeAPI(t), newDirectory(t)
			f.set(t, "nodes", node("n1", "64"))
			d.start(tc.impl)
			startExtended(t, f, d, `{"extensions":[{"plugin":"x"}]}`)
			f.set(t, "pods", pod("p", "1"))
			f.wait(func() bool { return f.statuses["default/p"] == tc.want })
		})
		t.Run(name+" ignored", func(t *testing.T) {
			f, d := newFakeAPI(t), newDirectory(t)
			f.set(t, "nodes", node("n1", "64"))
			d.start(tc.impl)
			startExtended(t, f, d, settingsIgnore)
			f.set(t, "pods", pod("p", "1"))
			f.wait(func() bool { return f.bindings["default/p"] == "n1" })
		})
	}
}

type hanging struct{ extension }

func (*hanging) Filter(ctx context.Context, _ *v1.Pod, _ []*scheduling.Node) ([]scheduling.Verdict, error) {
	<-ctx.Done()
	time.Sleep(time.Hour) // it does not care
	return nil, nil
}

func TestUsageIsAsItIsWhenAPodIsAskedAbout(t *testing.T) {
	f, d := newFakeAPI(t), newDirectory(t)
	for i := range 4 {
		f.set(t, "nodes", node(fmt.Sprint("n", i), "64"))
	}
	// One pod to a node, which holds only if each question knows of the answer before it.
	d.start(&judge{
		extension: extension{name: "x", concerns: scheduling.Concerns{Usage: true}},
		judge: func(_ *v1.Pod, n *scheduling.Node) (string, int64) {
			if n.Usage == nil {
				return "node(s) without usage", 0
			}
			if n.Usage.Pods > 0 {
				return "node(s) had a pod", 0
			}
			return "", 0
		},
	})
	startExtended(t, f, d, `{"extensions":[{"plugin":"x"}]}`)
	for i := range 6 {
		f.set(t, "pods", pod(fmt.Sprint("p", i), "1"))
	}
	const full = "False Unschedulable 0/4 nodes are available: 4 node(s) had a pod."
	f.wait(func() bool {
		waiting := 0
		for _, s := range f.statuses {
			if s == full {
				waiting++
			}
		}
		return len(f.bindings) == 4 && waiting == 2
	})
	on := map[string]bool{}
	f.mu.Lock()
	defer f.mu.Unlock()
	for p, n := range f.bindings {
		if on[n] {
			t.Errorf("%s is a second pod on %s", p, n)
		}
		on[n] = true
	}
}

func TestPodsFromBeforeAnExtensionAreRead(t *testing.T) {
	f, d := newFakeAPI(t), newDirectory(t)
	f.set(t, "nodes", node("n1", "1"))
	startExtended(t, f, d, ``)
	f.set(t, "pods", strings.Replace(podWith("big", "l", "v"), `"cpu":"1"`, `"cpu":"2"`, 1))
	f.wait(func() bool { return f.statuses["default/big"] != "" })
	j := &judge{extension: extension{name: "x"}, judge: func(p *v1.Pod, _ *scheduling.Node) (string, int64) {
		if p.Name == "big" && p.Labels["l"] != "v" {
			return "node(s) can't tell", 0
		}
		return "", 0
	}}
	d.start(j)
	probes := 0
	eventually(t, func() bool { // until it takes part
		probes++
		f.set(t, "pods", pod(fmt.Sprint("probe", probes), "1m"))
		j.mu.Lock()
		defer j.mu.Unlock()
		return len(j.asked) > 0
	})
	f.set(t, "nodes", node("n1", "4"))
	f.wait(func() bool { return f.bindings["default/big"] == "n1" && f.reads["default/big"] == 1 })
}

// licences are given out one at a time.
type licences struct {
	judge
	mu       sync.Mutex
	left     int
	released chan struct{}
}

func (l *licences) Changes(ctx context.Context, changed func()) error {
	for {
		select {
		case <-l.released:
			changed()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func TestAnExtensionTellsThatItsAnswersHaveChanged(t *testing.T) {
	f, d := newFakeAPI(t), newDirectory(t)
	f.set(t, "nodes", node("n1", "64"))
	l := &licences{released: make(chan struct{})}
	l.name = "x"
	l.judge.judge = func(*v1.Pod, *scheduling.Node) (string, int64) {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.left == 0 {
			return "node(s) had no licence", 0
		}
		return "", 0
	}
	d.start(l)
	startExtended(t, f, d, `{"extensions":[{"plugin":"x"}]}`)
	f.set(t, "pods", pod("p", "1"))
	f.wait(func() bool {
		return f.statuses["default/p"] == "False Unschedulable 0/1 nodes are available: 1 node(s) had no licence."
	})
	l.mu.Lock()
	l.left = 1
	l.mu.Unlock()
	l.released <- struct{}{}
	f.wait(func() bool { return f.bindings["default/p"] == "n1" })
}

// eventually waits for what nobody announces.
func eventually(t *testing.T, f func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	end := time.After(20 * time.Second)
	for !f() {
		select {
		case <-tick.C:
		case <-end:
			t.Fatal("it did not happen")
		}
	}
}

// BenchmarkScheduleExtended measures pods on which an extension has a say, by filter and score
// of all nodes.
func BenchmarkScheduleExtended(b *testing.B) {
	f, d := newFakeAPI(b), newDirectory(b)
	for i := range 1000 {
		f.set(b, "nodes", node(fmt.Sprint("n", i), "32"))
	}
	d.start(&judge{extension: extension{name: "x"}, judge: func(*v1.Pod, *scheduling.Node) (string, int64) { return "", 50 }})
	startExtended(b, f, d, `{"extensions":[{"plugin":"x"}]}`)
	b.ResetTimer()
	for i := range b.N {
		f.set(b, "pods", pod(fmt.Sprint("p", i), "1m"))
	}
	f.wait(func() bool { return len(f.bindings) == b.N })
}
