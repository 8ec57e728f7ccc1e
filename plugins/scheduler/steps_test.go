package scheduler_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pintle-dev/pintle/sdk/scheduling"
)

// books reserves, permits and binds as its functions say.
type books struct {
	extension
	reserve func(pod string) error
	permit  func(ctx context.Context, pod string) error
	bind    func(pod, node string) error

	mu  sync.Mutex
	log []string
}

func (b *books) note(format string, args ...any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.log = append(b.log, fmt.Sprintf(format, args...))
}

func (b *books) has(line string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, l := range b.log {
		if l == line {
			return true
		}
	}
	return false
}

func (b *books) Reserve(_ context.Context, pod *v1.Pod, node string) error {
	b.note("reserve %s %s", pod.Name, node)
	if b.reserve == nil {
		return nil
	}
	return b.reserve(pod.Name)
}

func (b *books) Unreserve(_ context.Context, pod *v1.Pod, node string) {
	b.note("unreserve %s %s", pod.Name, node)
}

func (b *books) Permit(ctx context.Context, pod *v1.Pod, _ string) error {
	if b.permit == nil {
		return nil
	}
	return b.permit(ctx, pod.Name)
}

func (b *books) Bind(_ context.Context, pod *v1.Pod, node string) error {
	if b.bind == nil {
		return scheduling.ErrSkip
	}
	return b.bind(pod.Name, node)
}

func TestAGangIsBoundWhenItIsWhole(t *testing.T) {
	f, d := newFakeAPI(t), newDirectory(t)
	f.set(t, "nodes", node("n1", "64"))
	var mu sync.Mutex
	members, whole := map[string]bool{}, make(chan struct{})
	b := &books{extension: extension{name: "gang"}, permit: func(ctx context.Context, pod string) error {
		mu.Lock()
		if members[pod] = true; len(members) == 3 {
			close(whole)
		}
		mu.Unlock()
		select {
		case <-whole:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}}
	d.start(b)
	startExtended(t, f, d, `{"extensions":[{"plugin":"gang"}]}`)
	f.set(t, "pods", pod("a", "1"))
	f.set(t, "pods", pod("b", "1"))
	eventually(t, func() bool { return b.has("reserve a n1") && b.has("reserve b n1") })
	f.mu.Lock()
	if len(f.bindings) != 0 {
		t.Errorf("bound before the gang is whole: %v", f.bindings)
	}
	f.mu.Unlock()
	f.set(t, "pods", pod("c", "1"))
	f.wait(func() bool { return len(f.bindings) == 3 })
	for _, p := range []string{"a", "b", "c"} {
		if b.has("unreserve " + p + " n1") {
			t.Errorf("%s was bound and is not reserved", p)
		}
	}
}

func TestWhatIsRefusedIsTakenBack(t *testing.T) {
	for name, tc := range map[string]struct {
		impl *books
		want string
	}{
		"reserve": {&books{reserve: func(string) error { return errors.New("no licence is left") }}, "no licence is left"},
		"permit":  {&books{permit: func(context.Context, string) error { return errors.New("not before noon") }}, "not before noon"},
		"no permit in time": {
			&books{
				extension: extension{concerns: scheduling.Concerns{PermitTimeout: 50 * time.Millisecond}},
				permit:    func(ctx context.Context, _ string) error { <-ctx.Done(); return ctx.Err() },
			},
			"rejected due to timeout after waiting 50ms at plugin x",
		},
	} {
		t.Run(name, func(t *testing.T) {
			f, d := newFakeAPI(t), newDirectory(t)
			f.set(t, "nodes", node("n1", "1"))
			tc.impl.name = "x"
			tc.impl.concerns.Selector = &metav1.LabelSelector{MatchLabels: map[string]string{"ask": "yes"}}
			d.start(tc.impl)
			startExtended(t, f, d, `{"extensions":[{"plugin":"x"}]}`)
			f.set(t, "pods", podWith("p", "ask", "yes"))
			f.wait(func() bool { return f.statuses["default/p"] == "False Unschedulable "+tc.want })
			if !tc.impl.has("unreserve p n1") {
				t.Errorf("not taken back: %v", tc.impl.log)
			}
			// The room is there for others.
			f.set(t, "pods", pod("other", "1"))
			f.wait(func() bool { return f.bindings["default/other"] == "n1" })
		})
	}
}

func TestAWaitEndsWithThePod(t *testing.T) {
	f, d := newFakeAPI(t), newDirectory(t)
	f.set(t, "nodes", node("n1", "1"))
	begun, ended := make(chan struct{}), make(chan struct{})
	b := &books{
		extension: extension{name: "x", concerns: scheduling.Concerns{PermitTimeout: time.Minute}},
		permit: func(ctx context.Context, pod string) error {
			if pod != "p" {
				return nil
			}
			close(begun)
			<-ctx.Done()
			close(ended)
			return ctx.Err()
		},
	}
	d.start(b)
	startExtended(t, f, d, `{"extensions":[{"plugin":"x"}]}`)
	f.set(t, "pods", pod("p", "1"))
	<-begun
	f.delete("pods", "default/p")
	<-ended
	eventually(t, func() bool { return b.has("unreserve p n1") })
	f.set(t, "pods", pod("next", "1"))
	f.wait(func() bool { return f.bindings["default/next"] == "n1" })
}

func TestAnExtensionBinds(t *testing.T) {
	f, d := newFakeAPI(t), newDirectory(t)
	f.set(t, "nodes", node("n1", "64"))
	tries := 0
	d.start(&books{extension: extension{name: "x"}, bind: func(name, on string) error {
		if name == "skipped" {
			return scheduling.ErrSkip
		}
		if tries++; tries == 1 {
			return errors.New("not yet")
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		o := f.objects["pods"]["default/"+name]
		spec := map[string]any{"nodeName": on, "schedulerName": "default-scheduler"}
		f.bindings["default/"+name] = "by the extension to " + on
		f.put("pods", map[string]any{"metadata": o["metadata"], "spec": spec, "status": o["status"]})
		return nil
	}})
	startExtended(t, f, d, `{"extensions":[{"plugin":"x"}]}`)
	f.set(t, "pods", pod("p", "1"))
	f.set(t, "pods", pod("skipped", "1"))
	f.wait(func() bool {
		return f.bindings["default/p"] == "by the extension to n1" && f.bindings["default/skipped"] == "n1" && len(f.events) >= 2
	})
}
