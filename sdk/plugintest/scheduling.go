package plugintest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"testing"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pintle-dev/pintle/sdk/remote"
	"github.com/pintle-dev/pintle/sdk/scheduling"
)

// SchedulingCase is a plugin with a part in scheduling to be held to the contract.
type SchedulingCase struct {
	Case
	New func() scheduling.Extension
	// Pods that concern it, and Nodes, which are given to it as they are here. A few of each
	// are made up where there are none.
	Pods  []*v1.Pod
	Nodes []*scheduling.Node
	// Refused must not be scheduled on a node at all by its filter: names of pods in Pods.
	Refused []string
}

// RunScheduling holds a plugin's part in scheduling to the contract, directly and over gRPC.
// Filter and Score must give the same for the same.
func RunScheduling(t *testing.T, c SchedulingCase) {
	t.Helper()
	c.complete()
	start := func(t testing.TB) *Harness { return Start(t, c.New()) }
	c.runBase(t, start)
	part := func(t testing.TB) *remote.Scheduling {
		h := start(t)
		configure(t, h.Client, c.Settings)
		s, ok, err := h.Client.Scheduling(t.Context())
		if err != nil || !ok {
			t.Fatalf("the host is not told that the plugin has a part in scheduling: %v", err)
		}
		return s
	}
	direct := func(t testing.TB) scheduling.Extension {
		impl := c.New()
		configure(t, impl, c.Settings)
		return impl
	}
	t.Run("it says which pods concern it", func(t *testing.T) {
		concerns := direct(t).Concerns()
		if concerns.PermitTimeout < 0 || concerns.PermitTimeout > scheduling.MaxPermitTimeout {
			t.Errorf("permit timeout %s: 0 to %s are possible", concerns.PermitTimeout, scheduling.MaxPermitTimeout)
		}
		if concerns.Selector != nil {
			if _, err := metav1.LabelSelectorAsSelector(concerns.Selector); err != nil {
				t.Errorf("selector: %v", err)
			}
		}
		if far := part(t).Concerns(); !equalConcerns(concerns, far) {
			t.Errorf("over gRPC it says %+v, directly %+v", far, concerns)
		}
	})
	t.Run("it answers as directly over gRPC", func(t *testing.T) {
		impl, ev := direct(t), part(t).Evaluator()
		defer ev.Close()
		c.compare(t, impl, ev, c.Nodes)
	})
	t.Run("it sees nodes as they are now", func(t *testing.T) {
		impl, ev := direct(t), part(t).Evaluator()
		defer ev.Close()
		c.compare(t, impl, ev, c.Nodes)
		// One is gone and its number is another's, one has changed.
		nodes := append([]*scheduling.Node{}, c.Nodes...)
		nodes = append(nodes[1:], nodes[0])
		changed := *nodes[0]
		changed.Labels, changed.Annotations = map[string]string{"plugintest": "changed"}, nil
		nodes[0] = &changed
		c.compare(t, impl, ev, nodes)
		c.compare(t, impl, ev, nodes[:1])
		c.compare(t, impl, ev, c.Nodes)
	})
	t.Run("it changes nothing that it is given", func(t *testing.T) {
		impl := direct(t)
		for _, pod := range c.Pods {
			p, nodes := pod.DeepCopy(), deepNodes(c.Nodes)
			if _, err := evaluate(t.Context(), impl, pod, c.Nodes); err != nil {
				t.Fatalf("pod %s: %v", pod.Name, err)
			}
			if !reflect.DeepEqual(p, pod) || !reflect.DeepEqual(nodes, deepNodes(c.Nodes)) {
				t.Fatalf("it changed pod %s or a node", pod.Name)
			}
		}
	})
	t.Run("questions may come at the same time", func(t *testing.T) {
		impl, s := direct(t), part(t)
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				ev := s.Evaluator()
				defer ev.Close()
				c.compare(t, impl, ev, c.Nodes)
			})
		}
		all.Wait()
	})
	t.Run("a thousand nodes", func(t *testing.T) {
		ev := part(t).Evaluator()
		defer ev.Close()
		nodes := make([]*scheduling.Node, 1000)
		for i := range nodes {
			n := *c.Nodes[i%len(c.Nodes)]
			n.Name = fmt.Sprintf("%s-%d", n.Name, i)
			nodes[i] = &n
		}
		if _, err := ask(t.Context(), ev, c.Pods, nodes); err != nil {
			t.Fatal(err)
		}
	})
	c.runPlaces(t, part)
}

func (c *SchedulingCase) complete() {
	if len(c.Pods) == 0 {
		for i := range 3 {
			c.Pods = append(c.Pods, &v1.Pod{
				ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("pod-%d", i), Namespace: "default", UID: "1"},
				Spec:       v1.PodSpec{Containers: []v1.Container{{Name: "c", Image: "i"}}},
			})
		}
	}
	if len(c.Nodes) == 0 {
		for i := range 4 {
			c.Nodes = append(c.Nodes, &scheduling.Node{
				Name: fmt.Sprintf("node-%d", i), UID: "1", Labels: map[string]string{"kubernetes.io/hostname": fmt.Sprintf("node-%d", i)},
				Allocatable: v1.ResourceList{v1.ResourceCPU: resource.MustParse("4"), v1.ResourceMemory: resource.MustParse("8Gi")},
				Usage:       &scheduling.Usage{Pods: i, Requested: v1.ResourceList{v1.ResourceCPU: resource.MustParse("1")}},
			})
		}
	}
}

// runPlaces holds to the contract what comes after the choice of a node.
func (c *SchedulingCase) runPlaces(t *testing.T, part func(testing.TB) *remote.Scheduling) {
	t.Helper()
	placed := func(t testing.TB) remote.Placed {
		p, err := remote.Place(c.Pods[0], c.Nodes[0].Name)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	s := part(t)
	if s.Can(scheduling.CanReserve) {
		t.Run("what is reserved can be taken back at any time", func(t *testing.T) {
			s, p := part(t), placed(t)
			for range 3 { // before Reserve, after it, and twice
				if err := s.Unreserve(t.Context(), p); err != nil {
					t.Fatalf("unreserve: %v", err)
				}
				var refused *scheduling.Refused
				if err := s.Reserve(t.Context(), p); err != nil && !errors.As(err, &refused) {
					t.Fatalf("reserve: %v", err)
				}
				if err := s.Unreserve(t.Context(), p); err != nil {
					t.Fatalf("unreserve: %v", err)
				}
			}
		})
	}
	if s.Can(scheduling.CanPermit) {
		t.Run("a permit that nobody waits for any more ends", func(t *testing.T) {
			s, p := part(t), placed(t)
			var all sync.WaitGroup
			ctx, cancel := context.WithCancel(t.Context())
			for range 4 {
				all.Go(func() { _ = s.Permit(ctx, p) })
			}
			cancel()
			within(t, "the calls have ended", func() { all.Wait() })
		})
	}
}

// within fails a test where f takes longer than Patience.
func within(t *testing.T, what string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	ctx, cancel := context.WithTimeout(t.Context(), Patience)
	defer cancel()
	select {
	case <-done:
	case <-ctx.Done():
		t.Errorf("not within %s: %s", Patience, what)
	}
}

// compare asks directly and over gRPC.
func (c *SchedulingCase) compare(t *testing.T, impl scheduling.Extension, ev *remote.Evaluator, nodes []*scheduling.Node) {
	t.Helper()
	far, err := ask(t.Context(), ev, c.Pods, nodes)
	if err != nil {
		t.Errorf("over gRPC: %v", err)
		return
	}
	refused := map[string]bool{}
	for _, name := range c.Refused {
		refused[name] = true
	}
	for i, pod := range c.Pods {
		if far[i].Err != nil {
			t.Errorf("pod %s over gRPC: %v", pod.Name, far[i].Err)
			continue
		}
		near, err := evaluate(t.Context(), impl, pod, nodes)
		if err != nil {
			t.Errorf("pod %s directly: %v", pod.Name, err)
			continue
		}
		if fmt.Sprint(near.Refused) != fmt.Sprint(far[i].Refused) || fmt.Sprint(near.Scores) != fmt.Sprint(far[i].Scores) {
			t.Errorf("pod %s: directly %+v, over gRPC %+v", pod.Name, near, far[i])
		}
		for j, reason := range far[i].Refused {
			if refused[pod.Name] && reason == "" {
				t.Errorf("pod %s passes on node %s", pod.Name, nodes[j].Name)
			}
		}
	}
}

func ask(ctx context.Context, ev *remote.Evaluator, pods []*v1.Pod, nodes []*scheduling.Node) ([]remote.Evaluation, error) {
	view := remote.View{Nodes: nodes, Usage: make([]*scheduling.Usage, len(nodes))}
	numbers := make([]uint32, len(nodes))
	for i, n := range nodes {
		numbers[i], view.Usage[i] = uint32(i), n.Usage
	}
	questions := make([]remote.Question, len(pods))
	for i, pod := range pods {
		raw, err := json.Marshal(pod)
		if err != nil {
			return nil, err
		}
		questions[i] = remote.Question{Pod: raw, Nodes: numbers}
	}
	return ev.Evaluate(ctx, Patience, view, questions)
}

// evaluate does what a scheduler makes of the author's interfaces.
func evaluate(ctx context.Context, impl scheduling.Extension, pod *v1.Pod, nodes []*scheduling.Node) (remote.Evaluation, error) {
	out := remote.Evaluation{Refused: make([]string, len(nodes))}
	var left []*scheduling.Node
	var at []int
	var verdicts []scheduling.Verdict
	if f, ok := impl.(scheduling.Filter); ok {
		var err error
		if verdicts, err = f.Filter(ctx, pod, nodes); err != nil {
			return out, err
		}
		if verdicts != nil && len(verdicts) != len(nodes) {
			return out, fmt.Errorf("%d verdicts on %d nodes", len(verdicts), len(nodes))
		}
	}
	for i, n := range nodes {
		if verdicts != nil && verdicts[i].Reason != "" {
			out.Refused[i] = verdicts[i].Reason
			continue
		}
		left, at = append(left, n), append(at, i)
	}
	s, ok := impl.(scheduling.Score)
	if !ok || len(left) == 0 {
		return out, nil
	}
	scores, err := s.Score(ctx, pod, left)
	if err != nil {
		return out, err
	}
	if len(scores) != len(left) {
		return out, fmt.Errorf("%d scores for %d nodes", len(scores), len(left))
	}
	out.Scores = make([]int64, len(nodes))
	for i, score := range scores {
		if score < 0 || score > scheduling.MaxScore {
			return out, fmt.Errorf("node %s has the score %d: 0 to %d are possible", left[i].Name, score, scheduling.MaxScore)
		}
		out.Scores[at[i]] = score
	}
	return out, nil
}

func deepNodes(nodes []*scheduling.Node) []scheduling.Node {
	out := make([]scheduling.Node, len(nodes))
	for i, n := range nodes {
		out[i] = *n
		out[i].Labels, out[i].Annotations = copied(n.Labels), copied(n.Annotations)
		out[i].Allocatable = n.Allocatable.DeepCopy()
		out[i].Taints = append([]v1.Taint(nil), n.Taints...)
	}
	return out
}

func copied(m map[string]string) map[string]string {
	out := map[string]string{}
	for k, v := range m {
		out[k] = v
	}
	return out
}

func equalConcerns(near, far scheduling.Concerns) bool {
	if near.PermitTimeout == 0 {
		near.PermitTimeout = scheduling.DefaultPermitTimeout
	}
	text := func(c scheduling.Concerns) string {
		s := metav1.FormatLabelSelector(c.Selector)
		if c.Selector == nil {
			s = metav1.FormatLabelSelector(&metav1.LabelSelector{})
		}
		return fmt.Sprintf("%q %q %s %v %s", c.SchedulerNames, c.Namespaces, s, c.Usage, c.PermitTimeout)
	}
	return text(near) == text(far)
}
