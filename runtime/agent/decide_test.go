package agent

import (
	"fmt"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"

	driver "github.com/pintle-dev/pintle/sdk/runtimedriver"
)

func ptr[T any](v T) *T { return &v }

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func testPod(policy corev1.RestartPolicy, init []corev1.Container, names ...string) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "p", UID: "uid"}, Spec: corev1.PodSpec{RestartPolicy: policy, InitContainers: init}}
	for _, n := range names {
		p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: n, Image: n})
	}
	return p
}

func sidecar(name string) corev1.Container {
	return corev1.Container{Name: name, Image: name, RestartPolicy: ptr(corev1.ContainerRestartPolicyAlways)}
}

func observed(cs ...driver.Container) *Observed {
	o := &Observed{
		Sandbox: &driver.Sandbox{ID: "sb", Ready: true}, Network: true, Containers: cs, Busy: map[string]bool{}, Failed: map[string]Failure{},
		Started: map[string]bool{}, Ready: map[string]bool{}, Unhealthy: map[string]Unhealthy{}, Streaks: map[string]int{}, Messages: map[string]string{},
	}
	for _, c := range cs {
		if c.State == driver.ContainerRunning {
			o.Started[c.ID], o.Ready[c.ID] = true, true
		}
	}
	return o
}

func up(name string) driver.Container {
	return driver.Container{ID: name, Name: name, State: driver.ContainerRunning, StartedAt: epoch}
}

func down(name string, code int32) driver.Container {
	return driver.Container{ID: name, Name: name, State: driver.ContainerExited, ExitCode: code, StartedAt: epoch, FinishedAt: epoch}
}

func do(as ...Action) string {
	var s []string
	for _, a := range as {
		s = append(s, fmt.Sprintf("%s %s%s", a.Kind, a.Container, map[bool]string{true: fmt.Sprintf(" #%d", a.Attempt)}[a.Attempt > 0]))
	}
	return fmt.Sprint(s)
}

func TestDecide(t *testing.T) {
	always, onFailure, never := corev1.RestartPolicyAlways, corev1.RestartPolicyOnFailure, corev1.RestartPolicyNever
	initC := []corev1.Container{{Name: "i"}}
	for _, c := range []struct {
		name string
		pod  *corev1.Pod
		o    *Observed
		mod  func(*corev1.Pod, *Observed)
		want string
	}{
		{"new pod", testPod(always, nil, "a"), observed(), func(_ *corev1.Pod, o *Observed) { o.Sandbox = nil }, "[create sandbox ]"},
		{"lost sandbox", testPod(always, nil, "a"), observed(), func(_ *corev1.Pod, o *Observed) { o.Sandbox.Ready = false }, "[replace sandbox  #1]"},
		{"being connected", testPod(always, nil, "a"), observed(), func(_ *corev1.Pod, o *Observed) { o.Network, o.Attaching = false, true }, "[start a]"},
		{"cut off while connecting", testPod(always, nil, "a"), observed(), func(_ *corev1.Pod, o *Observed) { o.Network = false }, "[create sandbox ]"},
		{"all at once", testPod(always, nil, "a", "b"), observed(), nil, "[start a start b]"},
		{"init first", testPod(always, initC, "a"), observed(), nil, "[start i]"},
		{"init runs", testPod(always, initC, "a"), observed(up("i")), nil, "[]"},
		{"init done", testPod(always, initC, "a"), observed(down("i", 0)), nil, "[start a]"},
		{"init failed", testPod(always, initC, "a"), observed(down("i", 1)), nil, "[start i #1]"},
		{"init failed for good", testPod(never, initC, "a"), observed(down("i", 1)), nil, "[release sandbox ]"},
		{"init forgotten later", testPod(always, initC, "a"), observed(up("a")), nil, "[]"},
		{"sidecar first", testPod(always, []corev1.Container{sidecar("s")}, "a"), observed(), nil, "[start s]"},
		{"sidecar not started up", testPod(always, []corev1.Container{sidecar("s")}, "a"), observed(up("s")), func(_ *corev1.Pod, o *Observed) { o.Started["s"] = false }, "[]"},
		{"sidecar up", testPod(always, []corev1.Container{sidecar("s")}, "a"), observed(up("s")), nil, "[start a]"},
		{"sidecar died later", testPod(never, []corev1.Container{sidecar("s")}, "a"), observed(down("s", 0), up("a")), nil, "[start s #1]"},
		{"sidecar alone left", testPod(never, []corev1.Container{sidecar("s"), sidecar("z")}, "a"), observed(up("s"), up("z"), down("a", 0)), nil, "[kill z]"},
		{"crashed once", testPod(always, nil, "a"), observed(down("a", 1)), func(_ *corev1.Pod, o *Observed) { o.Streaks["a"] = 1 }, "[start a #1]"},
		{"crashed twice", testPod(always, nil, "a"), observed(down("a", 1)), func(_ *corev1.Pod, o *Observed) { o.Streaks["a"] = 2 }, "[]"},
		{"succeeded, on failure", testPod(onFailure, nil, "a", "b"), observed(down("a", 0), up("b")), nil, "[]"},
		{"failed, on failure", testPod(onFailure, nil, "a"), observed(down("a", 1)), nil, "[start a #1]"},
		{"all ended", testPod(never, nil, "a", "b"), observed(down("a", 0), down("b", 1)), nil, "[release sandbox ]"},
		{"released", testPod(never, nil, "a"), observed(down("a", 0)), func(_ *corev1.Pod, o *Observed) { o.Released = true }, "[]"},
		{"unhealthy", testPod(always, nil, "a"), observed(up("a")), func(_ *corev1.Pod, o *Observed) { o.Unhealthy["a"] = Unhealthy{} }, "[kill a]"},
		{"busy", testPod(always, nil, "a", "b"), observed(), func(_ *corev1.Pod, o *Observed) { o.Busy["a"] = true }, "[start b]"},
		{"failed attempt waits", testPod(always, nil, "a"), observed(), func(_ *corev1.Pod, o *Observed) { o.Failed["a"] = Failure{Retry: epoch.Add(time.Second)} }, "[]"},
		{"never started", testPod(always, nil, "a"), observed(driver.Container{ID: "a", Name: "a", State: driver.ContainerCreated}), nil, "[kill a]"},
		{"deleted", testPod(always, []corev1.Container{sidecar("s")}, "a"), observed(up("s"), up("a")), func(p *corev1.Pod, _ *Observed) { p.DeletionTimestamp = &metav1.Time{Time: epoch} }, "[kill a]"},
		{"deleted, sidecar next", testPod(always, []corev1.Container{sidecar("s")}, "a"), observed(up("s"), down("a", 0)), func(p *corev1.Pod, _ *Observed) { p.DeletionTimestamp = &metav1.Time{Time: epoch} }, "[kill s]"},
		{"deleted, all ended", testPod(always, nil, "a"), observed(down("a", 0)), func(p *corev1.Pod, _ *Observed) { p.DeletionTimestamp = &metav1.Time{Time: epoch} }, "[remove pod ]"},
		{"deleted while connecting", testPod(always, nil, "a"), observed(), func(p *corev1.Pod, o *Observed) {
			p.DeletionTimestamp, o.Attaching = &metav1.Time{Time: epoch}, true
		}, "[]"},
		{"gone", testPod(always, nil, "a"), observed(up("a")), func(_ *corev1.Pod, o *Observed) { o.Gone = true }, "[kill a]"},
		{"past its deadline", testPod(always, nil, "a"), observed(up("a")), func(_ *corev1.Pod, o *Observed) { o.Stopped = &Stop{} }, "[kill a]"},
		{"failed already", testPod(always, nil, "a"), observed(), func(p *corev1.Pod, o *Observed) { p.Status.Phase, o.Sandbox = corev1.PodFailed, nil }, "[]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.mod != nil {
				c.mod(c.pod, c.o)
			}
			if got := do(Decide(c.pod, c.o, epoch).Actions...); got != c.want {
				t.Errorf("decided %s, want %s", got, c.want)
			}
		})
	}
}

func TestGrace(t *testing.T) {
	for _, c := range []struct {
		name string
		mod  func(*corev1.Pod, *Observed)
		want time.Duration
	}{
		{"default", func(*corev1.Pod, *Observed) {}, 30 * time.Second},
		{"the pod's", func(p *corev1.Pod, _ *Observed) { p.Spec.TerminationGracePeriodSeconds = ptr(int64(7)) }, 7 * time.Second},
		{"the deletion's", func(p *corev1.Pod, _ *Observed) { p.DeletionGracePeriodSeconds = ptr(int64(3)) }, 3 * time.Second},
		{"what is left of it", func(p *corev1.Pod, o *Observed) { o.TerminatingSince = epoch.Add(-20 * time.Second) }, 10 * time.Second},
		{"removed by force", func(_ *corev1.Pod, o *Observed) { o.Gone = true }, time.Second},
	} {
		p, o := testPod(corev1.RestartPolicyAlways, nil, "a"), observed(up("a"))
		p.DeletionTimestamp = &metav1.Time{Time: epoch}
		c.mod(p, o)
		if d := Decide(p, o, epoch); len(d.Actions) != 1 || d.Actions[0].Grace != c.want {
			t.Errorf("%s: %+v", c.name, d)
		}
	}
}

func TestCrashDelay(t *testing.T) {
	want := []time.Duration{0, 0, 10, 20, 40, 80, 160, 300, 300}
	for n, w := range want {
		if got := CrashDelay(n); got != w*time.Second {
			t.Errorf("delay after end %d is %v", n, got)
		}
	}
	if CrashDelay(1000) != crashMax {
		t.Error("the delay grows for ever")
	}
}

// world runs what Decide says on a pod of pure imagination.
type world struct {
	t    *rapid.T
	pod  *corev1.Pod
	o    *Observed
	now  time.Time
	ops  map[string]Action
	gone bool
	ids  int
}

func (w *world) latest(name string) *driver.Container { return newView(w.pod, w.o).latest[name] }

// step decides, checks the decision against the rules and takes the actions up.
func (w *world) step() {
	clear(w.o.Busy)
	for k := range w.ops {
		w.o.Busy[k] = true
	}
	d := Decide(w.pod, w.o, w.now)
	again := Decide(w.pod, w.o, w.now)
	if do(d.Actions...) != do(again.Actions...) {
		w.t.Fatalf("decided %s and then %s", do(d.Actions...), do(again.Actions...))
	}
	ending := w.pod.DeletionTimestamp != nil || w.o.Gone || w.o.Stopped != nil
	for _, a := range d.Actions {
		key := a.Container
		if key == "" {
			key = opSandbox
		}
		if _, busy := w.ops[key]; busy {
			w.t.Fatalf("%s while %s is under way", do(a), do(w.ops[key]))
		}
		if a.Kind == ActStart {
			w.checkStart(a, ending)
		}
		if a.Kind == ActRemove {
			for _, c := range w.o.Containers {
				if c.State != driver.ContainerExited {
					w.t.Fatalf("removing the pod while %s is %s", c.Name, c.State)
				}
			}
		}
		w.ops[key] = a
	}
}

func (w *world) checkStart(a Action, ending bool) {
	c := w.latest(a.Container)
	if ending {
		w.t.Fatalf("%s of a pod that ends", do(a))
	}
	if c != nil && c.State != driver.ContainerExited {
		w.t.Fatalf("%s while it is %s", do(a), c.State)
	}
	isInit := slices.ContainsFunc(w.pod.Spec.InitContainers, func(x corev1.Container) bool { return x.Name == a.Container })
	if c == nil && a.Attempt != 0 || c != nil && a.Attempt != c.Attempt+1 {
		w.t.Fatalf("%s after %+v", do(a), c)
	}
	if c != nil {
		if w.now.Before(c.FinishedAt.Add(CrashDelay(w.o.Streaks[a.Container]))) {
			w.t.Fatalf("%s too soon", do(a))
		}
		p := w.pod.Spec.RestartPolicy
		side := isInit && isSidecar(&w.pod.Spec.InitContainers[slices.IndexFunc(w.pod.Spec.InitContainers, func(x corev1.Container) bool { return x.Name == a.Container })])
		if !side && (p == corev1.RestartPolicyNever || p == corev1.RestartPolicyOnFailure && c.ExitCode == 0) {
			w.t.Fatalf("%s though its policy is %s and it ended with %d", do(a), p, c.ExitCode)
		}
	}
	if isInit || c != nil {
		return
	}
	for i := range w.pod.Spec.InitContainers {
		spec := &w.pod.Spec.InitContainers[i]
		ic := w.latest(spec.Name)
		if isSidecar(spec) {
			if ic == nil {
				w.t.Fatalf("%s before sidecar %s", do(a), spec.Name)
			}
		} else if !exited(ic) || ic.ExitCode != 0 {
			w.t.Fatalf("%s before init container %s has succeeded", do(a), spec.Name)
		}
	}
}

// finish completes an operation, well or badly.
func (w *world) finish(key string, ok bool) {
	a := w.ops[key]
	delete(w.ops, key)
	if !ok && (a.Kind == ActStart || a.Kind == ActCreateSandbox || a.Kind == ActReplaceSandbox) {
		w.o.Failed[key] = Failure{Reason: "x", Retry: w.now.Add(time.Second)}
		return
	}
	delete(w.o.Failed, key)
	switch a.Kind {
	case ActCreateSandbox, ActReplaceSandbox:
		w.o.Containers = nil
		w.o.Sandbox, w.o.Network = &driver.Sandbox{ID: "sb", Ready: true, Attempt: a.Attempt}, true
	case ActReleaseSandbox:
		w.o.Released = true
	case ActStart:
		w.ids++
		c := driver.Container{ID: fmt.Sprint(w.ids), Name: a.Container, Attempt: a.Attempt, State: driver.ContainerRunning, StartedAt: w.now, CreatedAt: w.now}
		w.o.Containers = append(w.o.Containers, c)
		w.o.Started[c.ID], w.o.Ready[c.ID] = true, true
	case ActKill:
		w.exit(a.ID, 137)
	case ActRemove:
		w.gone = true
	}
}

func (w *world) exit(id string, code int32) {
	for i := range w.o.Containers {
		c := &w.o.Containers[i]
		if c.ID == id && c.State != driver.ContainerExited {
			c.State, c.ExitCode, c.FinishedAt = driver.ContainerExited, code, w.now
			w.o.Streaks[c.Name]++
		}
	}
}

func (w *world) keys() []string {
	var out []string
	for k := range w.ops {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

func TestDecideModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var init []corev1.Container
		for i := range rapid.IntRange(0, 3).Draw(rt, "init") {
			c := corev1.Container{Name: fmt.Sprintf("i%d", i)}
			if rapid.Bool().Draw(rt, "sidecar") {
				c = sidecar(c.Name)
			}
			init = append(init, c)
		}
		policy := rapid.SampledFrom([]corev1.RestartPolicy{corev1.RestartPolicyAlways, corev1.RestartPolicyOnFailure, corev1.RestartPolicyNever}).Draw(rt, "policy")
		pod := testPod(policy, init, []string{"a", "b"}[:rapid.IntRange(1, 2).Draw(rt, "containers")]...)
		o := observed()
		o.Sandbox, o.Network = nil, false
		w := &world{t: rt, pod: pod, o: o, now: epoch, ops: map[string]Action{}}
		for range rapid.IntRange(5, 60).Draw(rt, "steps") {
			w.step()
			if w.gone {
				break
			}
			switch rapid.IntRange(0, 9).Draw(rt, "what") {
			case 0, 1, 2, 3, 4:
				if ks := w.keys(); len(ks) > 0 {
					w.finish(rapid.SampledFrom(ks).Draw(rt, "op"), rapid.IntRange(0, 4).Draw(rt, "ok") > 0)
				}
			case 5, 6:
				if len(o.Containers) > 0 {
					w.exit(rapid.SampledFrom(o.Containers).Draw(rt, "container").ID, rapid.SampledFrom([]int32{0, 1}).Draw(rt, "code"))
				}
			case 7:
				w.now = w.now.Add(time.Duration(rapid.IntRange(1, 400).Draw(rt, "seconds")) * time.Second)
			case 8:
				if len(o.Containers) > 0 {
					o.Unhealthy[rapid.SampledFrom(o.Containers).Draw(rt, "sick").ID] = Unhealthy{}
				}
			case 9:
				if rapid.IntRange(0, 4).Draw(rt, "delete") == 0 {
					pod.DeletionTimestamp = &metav1.Time{Time: w.now}
				}
			}
			// Whatever the state, a status can be told of it.
			st := ComputeStatus(pod, o, StatusFacts{HostIP: "1.1.1.1"}, w.now)
			for _, c := range st.ContainerStatuses {
				n := 0
				for _, set := range []bool{c.State.Running != nil, c.State.Waiting != nil, c.State.Terminated != nil} {
					if set {
						n++
					}
				}
				if n != 1 {
					rt.Fatalf("container %s is in %d states: %+v", c.Name, n, c.State)
				}
			}
		}
		// Left alone, a deleted pod comes to its end.
		pod.DeletionTimestamp = &metav1.Time{Time: w.now}
		for range 50 {
			w.step()
			for _, k := range w.keys() {
				w.finish(k, true)
			}
			if w.gone {
				return
			}
			w.now = w.now.Add(time.Minute)
		}
		rt.Fatalf("the pod is not removed: %+v", o.Containers)
	})
}

func TestComputeStatus(t *testing.T) {
	always, never := corev1.RestartPolicyAlways, corev1.RestartPolicyNever
	state := func(s corev1.ContainerState) string {
		switch {
		case s.Running != nil:
			return "running"
		case s.Waiting != nil:
			return "waiting:" + s.Waiting.Reason
		}
		return fmt.Sprintf("terminated:%s:%d", s.Terminated.Reason, s.Terminated.ExitCode)
	}
	for _, c := range []struct {
		name  string
		pod   *corev1.Pod
		o     *Observed
		mod   func(*corev1.Pod, *Observed)
		phase corev1.PodPhase
		ready bool
		state string
	}{
		{"creating", testPod(always, nil, "a"), observed(), nil, corev1.PodPending, false, "waiting:ContainerCreating"},
		{"running", testPod(always, nil, "a"), observed(up("a")), nil, corev1.PodRunning, true, "running"},
		{"not ready", testPod(always, nil, "a"), observed(up("a")), func(_ *corev1.Pod, o *Observed) { o.Ready["a"] = false }, corev1.PodRunning, false, "running"},
		{"initializing", testPod(always, []corev1.Container{{Name: "i"}}, "a"), observed(up("i")), nil, corev1.PodPending, false, "waiting:PodInitializing"},
		{"no image", testPod(always, nil, "a"), observed(), func(_ *corev1.Pod, o *Observed) { o.Failed["a"] = Failure{Reason: "ErrImagePull"} }, corev1.PodPending, false, "waiting:ErrImagePull"},
		{"crash loop", testPod(always, nil, "a"), observed(down("a", 1)), func(_ *corev1.Pod, o *Observed) { o.Streaks["a"] = 2 }, corev1.PodRunning, false, "waiting:CrashLoopBackOff"},
		{"about to restart", testPod(always, nil, "a"), observed(down("a", 1)), func(_ *corev1.Pod, o *Observed) { o.Streaks["a"] = 1 }, corev1.PodRunning, false, "terminated:Error:1"},
		{"succeeded", testPod(never, nil, "a"), observed(down("a", 0)), nil, corev1.PodSucceeded, false, "terminated:Completed:0"},
		{"failed", testPod(never, nil, "a"), observed(down("a", 2)), nil, corev1.PodFailed, false, "terminated:Error:2"},
		{"sidecar still ends", testPod(never, []corev1.Container{sidecar("s")}, "a"), observed(up("s"), down("a", 0)), nil, corev1.PodRunning, false, "terminated:Completed:0"},
		{"out of memory", testPod(never, nil, "a"), observed(func() driver.Container { c := down("a", 137); c.OOMKilled = true; return c }()), nil, corev1.PodFailed, false, "terminated:OOMKilled:137"},
		{"deadline", testPod(always, nil, "a"), observed(up("a")), func(_ *corev1.Pod, o *Observed) { o.Stopped = &Stop{Reason: reasonDeadlineExceeded} }, corev1.PodFailed, false, "running"},
		{"gate", testPod(always, nil, "a"), observed(up("a")), func(p *corev1.Pod, _ *Observed) {
			p.Spec.ReadinessGates = []corev1.PodReadinessGate{{ConditionType: "x"}}
		}, corev1.PodRunning, false, "running"},
		{"deleted and ended", testPod(always, nil, "a"), observed(down("a", 0)), func(p *corev1.Pod, _ *Observed) { p.DeletionTimestamp = &metav1.Time{Time: epoch} }, corev1.PodSucceeded, false, "terminated:Completed:0"},
		{"deleted before it began", testPod(always, nil, "a"), observed(), func(p *corev1.Pod, _ *Observed) { p.DeletionTimestamp = &metav1.Time{Time: epoch} }, corev1.PodFailed, false, "waiting:ContainerCreating"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.mod != nil {
				c.mod(c.pod, c.o)
			}
			c.pod.Status.Conditions = []corev1.PodCondition{{Type: "Other", Status: corev1.ConditionTrue}}
			st := ComputeStatus(c.pod, c.o, StatusFacts{HostIP: "1.1.1.1"}, epoch)
			if st.Phase != c.phase || hasCondition(&st, corev1.PodReady) != c.ready || state(st.ContainerStatuses[0].State) != c.state {
				t.Errorf("%s, ready %v, %s", st.Phase, hasCondition(&st, corev1.PodReady), state(st.ContainerStatuses[0].State))
			}
			if !hasCondition(&st, "Other") {
				t.Error("a condition of somebody else was lost")
			}
		})
	}
}

func TestLastStateIsThePreviousAttempt(t *testing.T) {
	old, now := down("a", 3), up("a")
	old.ID, now.ID, now.Attempt = "old", "new", 1
	o := observed(old, now)
	st := ComputeStatus(testPod(corev1.RestartPolicyAlways, nil, "a"), o, StatusFacts{}, epoch).ContainerStatuses[0]
	if st.RestartCount != 1 || st.LastTerminationState.Terminated == nil || st.LastTerminationState.Terminated.ExitCode != 3 || st.ContainerID != "containerd://new" {
		t.Errorf("%+v", st)
	}
}

func TestExpand(t *testing.T) {
	lookup := func(n string) (string, bool) { return "<" + n + ">", n != "NONE" }
	for in, want := range map[string]string{
		"plain": "plain", "$(A)": "<A>", "x$(A)y$(B)": "x<A>y<B>", "$$(A)": "$(A)", "$$$(A)": "$<A>", "$(NONE)": "$(NONE)", "$A": "$A", "$": "$", "$(A": "$(A", "$$": "$",
	} {
		if got := expand(in, lookup); got != want {
			t.Errorf("expand(%q) is %q, want %q", in, got, want)
		}
	}
	if _, err := expandStrict("$(NONE)", lookup); err == nil {
		t.Error("a missing variable gave no error")
	}
}
