package plugintest_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"

	"github.com/pintle-dev/pintle/sdk/plugin"
	"github.com/pintle-dev/pintle/sdk/plugintest"
	"github.com/pintle-dev/pintle/sdk/remote"
	"github.com/pintle-dev/pintle/sdk/scheduling"
)

// allParts has every part in scheduling.
type allParts struct {
	mu       sync.Mutex
	reserved map[string]string
	env      plugin.Env
}

func (*allParts) Info() plugin.Info                       { return plugin.Info{Name: "all", Version: "1.0.0"} }
func (*allParts) ConfigSchema() []byte                    { return nil }
func (*allParts) Configure(context.Context, []byte) error { return nil }
func (*allParts) Concerns() scheduling.Concerns {
	return scheduling.Concerns{
		SchedulerNames: []string{"a", "b"}, Namespaces: []string{"n"}, Usage: true, PermitTimeout: time.Minute,
		Selector: &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "k", Operator: metav1.LabelSelectorOpIn, Values: []string{"v", "w"}}}},
	}
}

func (a *allParts) Start(_ context.Context, env plugin.Env) error {
	a.env = env
	return nil
}

func (*allParts) Changes(_ context.Context, changed func()) error {
	changed()
	return nil
}

func (*allParts) Filter(_ context.Context, _ *v1.Pod, nodes []*scheduling.Node) ([]scheduling.Verdict, error) {
	out := make([]scheduling.Verdict, len(nodes))
	for i, n := range nodes {
		if n.Usage.Pods > 1 || n.Labels["plugintest"] != "" {
			out[i] = scheduling.Refuse("node(s) were full")
		}
	}
	return out, nil
}

func (*allParts) Score(_ context.Context, _ *v1.Pod, nodes []*scheduling.Node) ([]int64, error) {
	out := make([]int64, len(nodes))
	for i, n := range nodes {
		out[i] = n.Allocatable.Cpu().Value() + int64(len(n.Name))
	}
	return out, nil
}

func (a *allParts) Reserve(_ context.Context, pod *v1.Pod, node string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.reserved[pod.Name] != "" {
		return errors.New("it is reserved already")
	}
	a.reserved = map[string]string{pod.Name: node}
	return nil
}

func (a *allParts) Unreserve(_ context.Context, pod *v1.Pod, _ string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.reserved, pod.Name)
}

func (*allParts) Permit(ctx context.Context, _ *v1.Pod, _ string) error {
	<-ctx.Done()
	return ctx.Err()
}

func (*allParts) Bind(_ context.Context, pod *v1.Pod, node string) error {
	switch {
	case node == "skip":
		return scheduling.ErrSkip
	case pod.Name == "":
		return errors.New("no pod came")
	}
	return nil
}

func TestSchedulingSuite(t *testing.T) {
	plugintest.RunScheduling(t, plugintest.SchedulingCase{New: func() scheduling.Extension { return &allParts{} }})
}

// telling refuses every node with what it sees of it.
type telling struct{ allParts }

func (*telling) Filter(_ context.Context, _ *v1.Pod, nodes []*scheduling.Node) ([]scheduling.Verdict, error) {
	out := make([]scheduling.Verdict, len(nodes))
	for i, n := range nodes {
		out[i] = scheduling.Refuse(seen(n, n.Usage))
	}
	return out, nil
}

func seen(n *scheduling.Node, u *scheduling.Usage) string {
	text := n.Name + " " + n.Labels["l"]
	if u != nil {
		text += fmt.Sprint(" ", u.Pods)
	}
	return text
}

// TestAnEvaluatorTellsAllThatHasChanged: whatever becomes of nodes between two questions, the
// plugin sees them as they are.
func TestAnEvaluatorTellsAllThatHasChanged(t *testing.T) {
	part, _, err := plugintest.Start(t, &telling{}).Client.Scheduling(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(rt *rapid.T) {
		ev := part.Evaluator()
		defer ev.Close()
		view := remote.View{Nodes: make([]*scheduling.Node, 4), Usage: make([]*scheduling.Usage, 4)}
		slot := rapid.IntRange(0, 3)
		rt.Repeat(map[string]func(*rapid.T){
			"node": func(rt *rapid.T) {
				view.Nodes[slot.Draw(rt, "slot")] = &scheduling.Node{
					Name:   rapid.SampledFrom([]string{"a", "b", "c"}).Draw(rt, "name"),
					Labels: map[string]string{"l": rapid.SampledFrom([]string{"x", "y"}).Draw(rt, "label")},
				}
			},
			"gone": func(rt *rapid.T) { view.Nodes[slot.Draw(rt, "slot")] = nil },
			"usage": func(rt *rapid.T) {
				view.Usage[slot.Draw(rt, "slot")] = &scheduling.Usage{Pods: rapid.IntRange(0, 9).Draw(rt, "pods")}
			},
			"anew": func(*rapid.T) { ev.Close() },
			"ask": func(rt *rapid.T) {
				q := remote.Question{Pod: []byte(`{}`)}
				for i, n := range view.Nodes {
					if n != nil {
						q.Nodes = append(q.Nodes, uint32(i))
					}
				}
				out, err := ev.Evaluate(t.Context(), plugintest.Patience, view, []remote.Question{q})
				if err != nil || out[0].Err != nil {
					rt.Fatal(err, out)
				}
				for i, number := range q.Nodes {
					if want := seen(view.Nodes[number], view.Usage[number]); out[0].Refused[i] != want {
						rt.Fatalf("it sees %q, there is %q", out[0].Refused[i], want)
					}
				}
			},
		})
	})
}

func TestSchedulingPartsOverGRPC(t *testing.T) {
	impl := &allParts{}
	h := plugintest.Start(t, impl)
	s, ok, err := h.Client.Scheduling(t.Context())
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	if err := s.Start(t.Context(), plugin.Env{}); err != nil || impl.env.Dir != h.Environment.Dir {
		t.Errorf("start: %v, %+v", err, impl.env)
	}
	if err := s.Start(t.Context(), plugin.Env{}); err == nil {
		t.Error("it was started twice")
	}
	pod := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p"}}
	place := func(node string) remote.Placed {
		p, err := remote.Place(pod, node)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	if err := s.Bind(t.Context(), place("skip")); !errors.Is(err, scheduling.ErrSkip) {
		t.Errorf("bind: %v", err)
	}
	if err := s.Bind(t.Context(), place("n")); err != nil {
		t.Errorf("bind: %v", err)
	}
	if err := s.Reserve(t.Context(), place("n")); err != nil {
		t.Errorf("reserve: %v", err)
	}
	var refused *scheduling.Refused
	if err := s.Reserve(t.Context(), place("n")); !errors.As(err, &refused) || refused.Reason != "it is reserved already" {
		t.Errorf("a refusal: %v", err)
	}
	changes := 0
	if err := s.Changes(t.Context(), func() { changes++ }); err != nil || changes != 1 {
		t.Errorf("changes: %d, %v", changes, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := s.Permit(ctx, place("n")); err == nil || errors.As(err, &refused) {
		t.Errorf("a permit that came to no end: %v", err)
	}
	h.Kill()
	if err := s.Reserve(t.Context(), place("n")); err == nil || errors.As(err, &refused) {
		t.Errorf("a dead plugin: %v", err)
	}
}
