package cache_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"pgregory.net/rapid"

	"github.com/pintle-dev/pintle/sdk/cache"
	"github.com/pintle-dev/pintle/sdk/plugintest/cluster"
)

var pods = corev1.SchemeGroupVersion.WithResource("pods")

// placed is what a scheduler's helper reads of a pod.
type placed struct {
	Metadata struct {
		Name, Namespace string
		Labels          map[string]string
	}
	Spec struct{ NodeName string }
}

// phased is what another controller reads.
type phased struct {
	Metadata struct{ Name string }
	Status   struct{ Phase string }
}

type env struct {
	client *kubernetes.Clientset
	cache  *cache.Cache
}

func start(t testing.TB) *env {
	t.Helper()
	c := cluster.Start(t, cluster.Options{})
	e := &env{client: kubernetes.NewForConfigOrDie(c.Config)}
	var err error
	if e.cache, err = cache.New(c.Config); err != nil {
		t.Fatal(err)
	}
	return e
}

// run runs the cache until the test ends.
func (e *env) run(t testing.TB) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- e.cache.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func view[T any](t testing.TB, e *env, q cache.Query) *cache.Objects[T] {
	t.Helper()
	q.Resource = pods
	v, err := cache.View[T](e.cache, q)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func synced(t testing.TB, views ...interface{ WaitSynced(context.Context) error }) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for _, v := range views {
		if err := v.WaitSynced(ctx); err != nil {
			t.Fatal(err)
		}
	}
}

func (e *env) create(t testing.TB, name, app string) {
	t.Helper()
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"app": app}},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "i:1"}, {Name: "d", Image: "j:2"}}},
	}
	if _, err := e.client.CoreV1().Pods("default").Create(t.Context(), pod, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

func (e *env) bind(t testing.TB, name, node string) {
	t.Helper()
	b := &corev1.Binding{ObjectMeta: metav1.ObjectMeta{Name: name}, Target: corev1.ObjectReference{Kind: "Node", Name: node}}
	if err := e.client.CoreV1().Pods("default").Bind(t.Context(), b, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

func (e *env) phase(t testing.TB, name, phase string) {
	t.Helper()
	patch := []byte(`{"status":{"phase":"` + phase + `"}}`)
	if _, err := e.client.CoreV1().Pods("default").Patch(t.Context(), name, types.MergePatchType, patch, metav1.PatchOptions{}, "status"); err != nil {
		t.Fatal(err)
	}
}

// log is what a handler was told.
type log struct {
	mu    sync.Mutex
	lines []string
	more  chan struct{}
}

func newLog() *log { return &log{more: make(chan struct{}, 1)} }

func (l *log) add(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, fmt.Sprintf(format, args...))
	select {
	case l.more <- struct{}{}:
	default:
	}
}

// until waits for a line and returns all until it.
func (l *log) until(t *testing.T, last string) []string {
	t.Helper()
	patience := time.NewTimer(20 * time.Second)
	defer patience.Stop()
	for {
		l.mu.Lock()
		if i := slices.Index(l.lines, last); i >= 0 {
			got := l.lines[:i+1]
			l.lines = l.lines[i+1:]
			l.mu.Unlock()
			return got
		}
		all := strings.Join(l.lines, "; ")
		l.mu.Unlock()
		select {
		case <-l.more:
		case <-patience.C:
			t.Fatalf("nobody said %q: %s", last, all)
		}
	}
}

func placements(l *log) cache.Handler[placed] {
	return cache.Handler[placed]{
		Add: func(p *placed) { l.add("add %s", p.Metadata.Name) },
		Update: func(old, now *placed) {
			l.add("%s: %q to %q", now.Metadata.Name, old.Spec.NodeName, now.Spec.NodeName)
		},
		Delete: func(p *placed) { l.add("delete %s", p.Metadata.Name) },
	}
}

func TestViewsShareAWatchAndHearWhatTheyRead(t *testing.T) {
	e := start(t)
	e.create(t, "a", "x")
	where, what := view[placed](t, e, cache.Query{}), view[phased](t, e, cache.Query{})
	byNode := where.Index(func(p *placed) []string { return []string{p.Spec.NodeName} })
	placing, phasing := newLog(), newLog()
	where.Handle(placements(placing))
	what.Handle(cache.Handler[phased]{Update: func(old, now *phased) {
		phasing.add("%s: %s to %s", now.Metadata.Name, old.Status.Phase, now.Status.Phase)
	}})
	e.run(t)
	synced(t, where, what)
	placing.until(t, "add a")

	e.phase(t, "a", "Running")
	e.bind(t, "a", "n1")
	e.phase(t, "a", "Failed")
	if got := placing.until(t, `a: "" to "n1"`); len(got) != 1 {
		t.Errorf("changes of the phase were told to who reads the node: %v", got)
	}
	if got := phasing.until(t, "a: Running to Failed"); len(got) != 2 || got[0] != "a: Pending to Running" {
		t.Errorf("phases: %v", got)
	}
	p, err := where.Get("default", "a")
	if err != nil || p == nil || p.Metadata.Labels["app"] != "x" || p.Metadata.Namespace != "default" {
		t.Errorf("%+v, %v", p, err)
	}
	names := func(node string) (out []string) {
		for p := range byNode.Get(node) {
			out = append(out, p.Metadata.Name)
		}
		return out
	}
	if got := names("n1"); !slices.Equal(got, []string{"a"}) || len(names("")) != 0 {
		t.Errorf("on n1: %v", got)
	}
	zero := int64(0)
	if err := e.client.CoreV1().Pods("default").Delete(t.Context(), "a", metav1.DeleteOptions{GracePeriodSeconds: &zero}); err != nil {
		t.Fatal(err)
	}
	placing.until(t, "delete a")
	if p, err := where.Get("default", "a"); p != nil || err != nil {
		t.Errorf("%+v, %v", p, err)
	}
	if len(names("n1")) != 0 || where.Len() != 0 {
		t.Error("it is still in the index")
	}
}

// A view that reads more than what is kept gets it, and the others hear nothing of that.
func TestViewsThatComeLater(t *testing.T) {
	e := start(t)
	where := view[placed](t, e, cache.Query{})
	placing := newLog()
	where.Handle(placements(placing))
	e.run(t)
	e.create(t, "a", "x")
	placing.until(t, "add a")

	images := view[corev1.Pod](t, e, cache.Query{Fields: []string{"spec.containers.image"}})
	synced(t, images)
	p, err := images.Get("default", "a")
	if err != nil || len(p.Spec.Containers) != 2 || p.Spec.Containers[1].Image != "j:2" {
		t.Errorf("%+v, %v", p, err)
	}
	e.create(t, "b", "x")
	if got := placing.until(t, "add b"); len(got) != 1 {
		t.Errorf("more fields were told as changes: %v", got)
	}
	late := newLog()
	where.Handle(placements(late))
	if got := late.until(t, "add b"); len(got) > 2 {
		t.Errorf("a handler that comes later: %v", got)
	}
}

func TestSelectors(t *testing.T) {
	e := start(t)
	e.create(t, "a", "x")
	e.create(t, "b", "y")
	ys := view[placed](t, e, cache.Query{Selector: "app=y", Namespace: "default"})
	none := view[placed](t, e, cache.Query{Namespace: "kube-system"})
	e.run(t)
	synced(t, ys, none)
	var got []string
	for p := range ys.All("") {
		got = append(got, p.Metadata.Name)
	}
	if !slices.Equal(got, []string{"b"}) || none.Len() != 0 {
		t.Errorf("%v, and %d in another namespace", got, none.Len())
	}
}

func TestRefuses(t *testing.T) {
	e := start(t)
	if _, err := cache.View[placed](e.cache, cache.Query{}); err == nil {
		t.Error("a view of nothing")
	}
	if _, err := cache.View[placed](e.cache, cache.Query{Resource: pods, Fields: []string{"spec..x"}}); err == nil {
		t.Error("a field without a name")
	}
	v := view[placed](t, e, cache.Query{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := v.WaitSynced(ctx); !errors.Is(err, context.Canceled) || v.Synced() {
		t.Errorf("before it runs: %v", err)
	}
	if err := e.cache.Run(ctx); err != nil {
		t.Errorf("a run that ends: %v", err)
	}
	if err := e.cache.Run(ctx); err == nil {
		t.Error("a second run")
	}
}

// Whatever happens to pods, views, indexes and handlers agree with the server at the end.
func TestFollows(t *testing.T) {
	e := start(t)
	where := view[placed](t, e, cache.Query{})
	byApp := where.Index(func(p *placed) []string { return []string{p.Metadata.Labels["app"]} })
	told := map[string]string{}
	var mu sync.Mutex
	note := func(p *placed) { mu.Lock(); defer mu.Unlock(); told[p.Metadata.Name] = p.Metadata.Labels["app"] }
	where.Handle(cache.Handler[placed]{
		Add: note, Update: func(_, p *placed) { note(p) },
		Delete: func(p *placed) { mu.Lock(); defer mu.Unlock(); delete(told, p.Metadata.Name) },
	})
	e.run(t)
	round := 0
	rapid.Check(t, func(rt *rapid.T) {
		round++
		want := map[string]string{}
		names := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "c", "d"}), 1, 8).Draw(rt, "names")
		zero := int64(0)
		for i, n := range names {
			name := fmt.Sprintf("%s-%d", n, round)
			app := rapid.SampledFrom([]string{"x", "y", ""}).Draw(rt, fmt.Sprintf("app%d", i))
			switch _, there := want[name]; {
			case !there:
				e.create(t, name, app)
				want[name] = app
			case app == "":
				if err := e.client.CoreV1().Pods("default").Delete(t.Context(), name, metav1.DeleteOptions{GracePeriodSeconds: &zero}); err != nil {
					t.Fatal(err)
				}
				delete(want, name)
			default:
				patch := []byte(`{"metadata":{"labels":{"app":"` + app + `"}}}`)
				if _, err := e.client.CoreV1().Pods("default").Patch(t.Context(), name, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
					t.Fatal(err)
				}
				want[name] = app
			}
		}
		seen := func() map[string]string {
			out := map[string]string{}
			for p := range where.All("default") {
				if strings.HasSuffix(p.Metadata.Name, fmt.Sprintf("-%d", round)) {
					out[p.Metadata.Name] = p.Metadata.Labels["app"]
				}
			}
			return out
		}
		deadline := time.Now().Add(20 * time.Second)
		for !maps.Equal(seen(), want) {
			if time.Now().After(deadline) {
				rt.Fatalf("the view has %v, the server %v", seen(), want)
			}
		}
		indexed := map[string]string{}
		for _, app := range []string{"x", "y", ""} {
			for p := range byApp.Get(app) {
				if strings.HasSuffix(p.Metadata.Name, fmt.Sprintf("-%d", round)) {
					indexed[p.Metadata.Name] = app
				}
			}
		}
		agree := func() bool {
			mu.Lock()
			defer mu.Unlock()
			for name, app := range want {
				if told[name] != app {
					return false
				}
			}
			return maps.Equal(indexed, want)
		}
		for !agree() {
			if time.Now().After(deadline) {
				rt.Fatalf("index %v, handlers %v, want %v", indexed, told, want)
			}
			clear(indexed)
			for _, app := range []string{"x", "y", ""} {
				for p := range byApp.Get(app) {
					if strings.HasSuffix(p.Metadata.Name, fmt.Sprintf("-%d", round)) {
						indexed[p.Metadata.Name] = app
					}
				}
			}
		}
	})
}
