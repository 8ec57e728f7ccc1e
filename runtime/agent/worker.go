package agent

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/pintle-dev/pintle/runtime/probe"
	driver "github.com/pintle-dev/pintle/sdk/runtimedriver"
)

// worker is the state machine of one pod. Its loop alone touches its state; everything
// else sends it messages, which are functions that run in the loop.
type worker struct {
	a   *Agent
	uid types.UID
	log *slog.Logger

	mu     sync.Mutex
	inbox  []func()
	notify chan struct{}
	done   chan struct{}

	// The rest belongs to the loop.
	ctx      context.Context
	pod      *corev1.Pod
	obs      Observed
	ops      map[string]*op
	probes   map[string]context.CancelFunc
	reporter *reporter
	seen     map[string]bool // ids of containers whose end was handled
	removed  bool
	retries  map[string]int
	// joined is the newest sandbox's connection in the making.
	joined *connection
}

// op is something being done to a container or the sandbox.
type op struct {
	cancel context.CancelFunc
	kind   ActionKind
}

func newWorker(a *Agent, pod *corev1.Pod) *worker {
	w := &worker{
		a: a, uid: pod.UID, pod: pod,
		log:    a.log.With("pod", pod.Namespace+"/"+pod.Name, "uid", string(pod.UID)),
		notify: make(chan struct{}, 1), done: make(chan struct{}),
		ops: map[string]*op{}, probes: map[string]context.CancelFunc{}, seen: map[string]bool{}, retries: map[string]int{},
		obs: Observed{
			Busy: map[string]bool{}, Failed: map[string]Failure{}, Started: map[string]bool{}, Ready: map[string]bool{},
			Unhealthy: map[string]Unhealthy{}, Messages: map[string]string{}, Streaks: map[string]int{},
		},
	}
	w.reporter = newReporter(a, w)
	return w
}

// send runs fn in the loop and then lets it decide anew.
func (w *worker) send(fn func()) {
	w.mu.Lock()
	w.inbox = append(w.inbox, fn)
	w.mu.Unlock()
	select {
	case w.notify <- struct{}{}:
	default:
	}
}

// update tells the worker the pod's newest state.
func (w *worker) update(pod *corev1.Pod) {
	w.send(func() {
		if w.pod.DeletionTimestamp == nil && pod.DeletionTimestamp != nil ||
			w.pod.DeletionGracePeriodSeconds != nil && pod.DeletionGracePeriodSeconds != nil && *pod.DeletionGracePeriodSeconds < *w.pod.DeletionGracePeriodSeconds {
			w.hurry(pod)
		}
		changed := podWorthRetry(w.pod, pod)
		w.pod = pod
		if changed {
			clear(w.obs.Failed)
		}
	})
}

// podWorthRetry reports whether a change of the pod may cure a failure.
func podWorthRetry(old, now *corev1.Pod) bool { return old.Generation != now.Generation }

// gone tells the worker that the Pod object does not exist any more.
func (w *worker) gone() {
	w.send(func() {
		if !w.obs.Gone {
			w.obs.Gone = true
			w.hurry(w.pod)
		}
	})
}

// hurry lets the end of the pod begin: whatever else is under way is called off, and so
// are kills with a longer grace.
func (w *worker) hurry(pod *corev1.Pod) {
	if w.obs.TerminatingSince.IsZero() {
		w.obs.TerminatingSince = time.Now()
	}
	for _, o := range w.ops {
		if o.kind != ActRemove && o.kind != ActReleaseSandbox {
			o.cancel()
		}
	}
}

func (w *worker) run(ctx context.Context) {
	defer close(w.done)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w.ctx = ctx
	go w.reporter.run(ctx)
	w.refresh()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for !w.removed {
		select {
		case <-ctx.Done():
			return
		case <-w.notify:
		case <-timer.C:
		}
		w.mu.Lock()
		inbox := w.inbox
		w.inbox = nil
		w.mu.Unlock()
		for _, fn := range inbox {
			fn()
		}
		if w.removed {
			break
		}
		next := w.step()
		timer.Stop()
		if !next.IsZero() {
			timer.Reset(max(time.Until(next), 0))
		}
	}
	for _, stop := range w.probes {
		stop()
	}
}

// step looks, decides, acts and reports once, and says when to look again.
func (w *worker) step() time.Time {
	w.refresh()
	now := time.Now()
	w.deadline(now)
	w.observeContainers()
	for k := range w.obs.Busy {
		delete(w.obs.Busy, k)
	}
	for k := range w.ops {
		w.obs.Busy[k] = true
	}
	w.obs.Attaching = w.ops[opAttach] != nil
	d := Decide(w.pod, &w.obs, now)
	for _, act := range d.Actions {
		w.act(act)
		w.obs.Busy[act.Container] = true
	}
	st := ComputeStatus(w.pod, &w.obs, w.a.statusFacts(), now)
	w.reporter.report(w.pod, st)
	return d.Wake
}

// deadline ends a pod whose time is over.
func (w *worker) deadline(now time.Time) {
	dl := w.pod.Spec.ActiveDeadlineSeconds
	if dl == nil || w.pod.Status.StartTime == nil || w.obs.Stopped != nil || w.pod.DeletionTimestamp != nil {
		return
	}
	if p := w.pod.Status.Phase; p == corev1.PodSucceeded || p == corev1.PodFailed {
		return
	}
	if now.Before(w.pod.Status.StartTime.Add(time.Duration(*dl) * time.Second)) {
		return
	}
	w.obs.Stopped = &Stop{Reason: reasonDeadlineExceeded, Message: "Pod was active on the node longer than the specified deadline"}
	w.event(corev1.EventTypeNormal, reasonDeadlineExceeded, w.obs.Stopped.Message)
	w.hurry(w.pod)
}

// refresh takes over what the runtime has of the pod.
func (w *worker) refresh() {
	w.obs.Containers = w.a.runtime.containers(w.uid)
	sb := w.a.runtime.sandbox(w.uid)
	if sb == nil || w.obs.Sandbox == nil || sb.ID != w.obs.Sandbox.ID {
		w.obs.Network, w.obs.PodIPs = false, nil
	}
	w.obs.Sandbox = sb
	if sb != nil && !w.obs.Network && w.ops[opAttach] == nil {
		// Of a former life of the agent: its addresses are in its record.
		if ips, ok := w.a.savedNetwork(sb); ok {
			w.obs.Network, w.obs.PodIPs = true, ips
		}
	}
}

// observeContainers handles beginnings and ends that are new.
func (w *worker) observeContainers() {
	alive := map[string]bool{}
	v := newView(w.pod, &w.obs)
	for i := range w.obs.Containers {
		c := w.obs.Containers[i]
		switch {
		case running(&c):
			if _, busy := w.ops[c.Name]; busy && !w.seenRunning(c.ID) {
				// Its start is not over before its postStart hook is.
				alive[c.ID] = true
				continue
			}
			alive[c.ID] = true
			if w.probes[c.ID] == nil && !w.ending() {
				w.watchHealth(c)
			}
		case exited(&c) && !w.seen[c.ID]:
			w.seen[c.ID] = true
			w.obs.Messages[c.ID] = w.terminationMessage(c)
			if v.latest[c.Name] != nil && v.latest[c.Name].ID == c.ID {
				w.countExit(c)
			}
		}
	}
	for id, stop := range w.probes {
		if !alive[id] {
			stop()
			delete(w.probes, id)
			delete(w.obs.Started, id)
			delete(w.obs.Ready, id)
			delete(w.obs.Unhealthy, id)
		}
	}
}

func (w *worker) seenRunning(id string) bool { return w.probes[id] != nil }

func (w *worker) ending() bool {
	return w.obs.Gone || w.obs.Stopped != nil || w.pod.DeletionTimestamp != nil
}

// countExit counts an end for back-off. A run that was long enough begins a new count;
// after a restart of the agent the number of restarts is all that is known.
func (w *worker) countExit(c driver.Container) {
	n, known := w.obs.Streaks[c.Name]
	if !known {
		n = c.Attempt
	}
	if !c.StartedAt.IsZero() && c.FinishedAt.Sub(c.StartedAt) >= crashReset {
		n = 0
	}
	w.obs.Streaks[c.Name] = n + 1
}

// act begins to do what was decided.
func (w *worker) act(act Action) {
	w.log.Debug("acting", "action", act.Kind, "container", act.Container)
	switch act.Kind {
	case ActCreateSandbox, ActReplaceSandbox:
		pod := w.pod
		w.launch(opSandbox, act.Kind, func(ctx context.Context) (func(), error) { return w.createSandbox(ctx, pod, act) })
	case ActStart:
		w.launch(act.Container, act.Kind, w.startOp(act))
	case ActKill:
		pod, spec, obs := w.pod, w.spec(act.Container), w.facts()
		w.launch(act.Container, act.Kind, func(ctx context.Context) (func(), error) {
			return nil, w.kill(ctx, pod, spec, act, obs)
		})
	case ActReleaseSandbox:
		sb := *w.obs.Sandbox
		w.launch(opSandbox, act.Kind, func(ctx context.Context) (func(), error) {
			if err := w.detach(ctx, sb); err != nil {
				return nil, err
			}
			if err := w.releaseVolumes(ctx); err != nil {
				return nil, err
			}
			return func() { w.obs.Released = true }, nil
		})
	case ActRemove:
		pod := w.pod
		gone := w.obs.Gone
		// The last status must be there before what it tells of goes.
		st := ComputeStatus(w.pod, &w.obs, w.a.statusFacts(), time.Now())
		w.launch(opSandbox, act.Kind, func(ctx context.Context) (func(), error) {
			if err := w.remove(ctx, pod, st, gone); err != nil {
				return nil, err
			}
			return func() { w.removed = true }, nil
		})
	}
}

func (w *worker) spec(name string) *corev1.Container {
	for _, list := range [][]corev1.Container{w.pod.Spec.InitContainers, w.pod.Spec.Containers} {
		for i := range list {
			if list[i].Name == name {
				return &list[i]
			}
		}
	}
	return &corev1.Container{Name: name}
}

// failure is an error that says how it shows in a status.
type failure struct {
	reason string
	retry  time.Time
	err    error
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// launch does something beside the loop. Only one thing is done to a key at a time. fn's
// function runs in the loop when fn has succeeded.
func (w *worker) launch(key string, kind ActionKind, fn func(ctx context.Context) (func(), error)) {
	ctx, cancel := context.WithCancel(w.ctx)
	w.ops[key] = &op{cancel: cancel, kind: kind}
	w.a.wg.Go(func() {
		apply, err := fn(ctx)
		stopped := ctx.Err() != nil
		cancel()
		if err := w.a.runtime.refresh(context.WithoutCancel(ctx)); err != nil {
			// The next listing makes good for it.
			w.log.Warn("cannot list what the container runtime has", "err", err)
		}
		w.send(func() {
			delete(w.ops, key)
			if err == nil {
				delete(w.obs.Failed, key)
				delete(w.retries, key)
				if apply != nil {
					apply()
				}
				return
			}
			if stopped {
				return
			}
			w.fail(key, kind, err)
		})
	})
}

// fail notes a failed attempt and when to repeat it.
func (w *worker) fail(key string, kind ActionKind, err error) {
	w.log.Warn("cannot "+string(kind), "what", key, "err", err)
	if key == opAttach {
		key = opSandbox // which has to be made anew
	}
	f := Failure{Reason: "ContainerCreating", Message: err.Error()}
	var known *failure
	if errors.As(err, &known) {
		f.Reason, f.Retry = known.reason, known.retry
	}
	if f.Retry.IsZero() {
		w.retries[key]++
		f.Retry = time.Now().Add(min(time.Second<<min(w.retries[key]-1, 6), time.Minute))
	}
	w.obs.Failed[key] = f
	if kind == ActRemove || kind == ActReleaseSandbox || kind == ActKill {
		// These know no back-off in Decide: hold the key until it is time.
		o := &op{cancel: func() {}, kind: kind}
		w.ops[key] = o
		delete(w.obs.Failed, key)
		time.AfterFunc(time.Until(f.Retry), func() {
			w.send(func() {
				if w.ops[key] == o {
					delete(w.ops, key)
				}
			})
		})
	}
}

// facts are what hooks and probes need to know.
type podFacts struct {
	podIPs []string
}

func (w *worker) facts() podFacts { return podFacts{podIPs: append([]string(nil), w.obs.PodIPs...)} }

func (w *worker) event(eventType, reason, message string) {
	w.a.recorder.Event(w.pod, eventType, reason, message)
}

// target of a probe or hook.
func target(spec *corev1.Container, id string, f podFacts) probe.Target {
	t := probe.Target{ID: id, Container: spec}
	if len(f.podIPs) > 0 {
		t.IP = f.podIPs[0]
	}
	return t
}
