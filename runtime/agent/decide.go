package agent

import (
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"

	driver "github.com/pintle-dev/pintle/sdk/runtimedriver"
)

// Reasons that the state machine gives.
const (
	reasonDeadlineExceeded = "DeadlineExceeded"
	reasonCrashLoopBackOff = "CrashLoopBackOff"
)

// Back-off between restarts of one container.
const (
	crashFirst = 10 * time.Second
	crashMax   = 5 * time.Minute
	// crashReset is how long a container must have run for its past not to count.
	crashReset = 10 * time.Minute
)

// Observed is what there is of a pod on the node.
type Observed struct {
	// Sandbox is the newest one, nil where there is none.
	Sandbox *driver.Sandbox
	// Network is set when the sandbox is connected (or on the host network).
	Network bool
	// Attaching is set while the sandbox is being connected: containers can be made
	// meanwhile, and start when it is.
	Attaching bool
	// PodIPs of the sandbox, the primary one first.
	PodIPs []string
	// Containers of the pod, all attempts that are kept.
	Containers []driver.Container
	// Busy are the containers (and opSandbox) that something is being done to.
	Busy map[string]bool
	// Failed are the attempts (of containers and opSandbox) that failed.
	Failed map[string]Failure
	// Started are the ids of containers whose startup probe has passed.
	Started map[string]bool
	// Ready are the ids of containers whose readiness probe passes.
	Ready map[string]bool
	// Unhealthy are the ids of containers that are to be killed, with why.
	Unhealthy map[string]Unhealthy
	// Messages are termination messages by container id.
	Messages map[string]string
	// Streaks count the restarts in a row that count for back-off, by container name.
	Streaks map[string]int
	// Stopped is why the whole pod is to end, though nobody deleted it.
	Stopped *Stop
	// Gone is set when the Pod object does not exist any more.
	Gone bool
	// TerminatingSince is when the end of the pod was first seen here.
	TerminatingSince time.Time
	// Released is set when a finished pod's network has been given back.
	Released bool
}

// Keys of what is done to the sandbox and to its connection, no container's names.
const (
	opSandbox = "/sandbox"
	opAttach  = "/attach"
)

// Failure is an attempt that failed.
type Failure struct {
	Reason, Message string
	// Retry is when to try again; zero means not before the pod changes.
	Retry time.Time
}

// Unhealthy is why a container is to be killed.
type Unhealthy struct {
	Message string
	// Grace overrides the pod's.
	Grace *int64
}

// Stop is why a pod ends on its own.
type Stop struct{ Reason, Message string }

// ActionKind is what to do.
type ActionKind string

// The kinds of actions.
const (
	ActCreateSandbox  ActionKind = "create sandbox"
	ActReplaceSandbox ActionKind = "replace sandbox"
	ActReleaseSandbox ActionKind = "release sandbox"
	ActStart          ActionKind = "start"
	ActKill           ActionKind = "kill"
	ActRemove         ActionKind = "remove pod"
)

// Action is one thing to do.
type Action struct {
	Kind      ActionKind
	Container string
	// ID of the container to kill.
	ID string
	// Attempt that is to be started.
	Attempt int
	Grace   time.Duration
	// Message says why, for the event.
	Message string
}

// Decision is what to do now and when to look again.
type Decision struct {
	Actions []Action
	// Wake is when time alone changes the decision; zero is never.
	Wake time.Time
}

func (d *Decision) do(a Action) { d.Actions = append(d.Actions, a) }

func (d *Decision) wakeAt(t time.Time) {
	if d.Wake.IsZero() || t.Before(d.Wake) {
		d.Wake = t
	}
}

// view is a pod's declaration beside its newest containers.
type view struct {
	pod    *corev1.Pod
	o      *Observed
	latest map[string]*driver.Container
	// runtime is the name of the container runtime.
	runtime string
}

func newView(pod *corev1.Pod, o *Observed) *view {
	v := &view{pod: pod, o: o, latest: map[string]*driver.Container{}}
	for i := range o.Containers {
		c := &o.Containers[i]
		if have := v.latest[c.Name]; have == nil || have.Attempt < c.Attempt || have.Attempt == c.Attempt && have.CreatedAt.Before(c.CreatedAt) {
			v.latest[c.Name] = c
		}
	}
	return v
}

// isSidecar tells init containers that keep running.
func isSidecar(c *corev1.Container) bool {
	return c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways
}

func running(c *driver.Container) bool { return c != nil && c.State == driver.ContainerRunning }
func exited(c *driver.Container) bool  { return c != nil && c.State == driver.ContainerExited }

// restarts reports whether an ended container is to run again.
func (v *view) restarts(spec *corev1.Container, init bool, c *driver.Container) bool {
	if init && isSidecar(spec) {
		return true
	}
	switch v.pod.Spec.RestartPolicy {
	case corev1.RestartPolicyNever:
		return false
	case corev1.RestartPolicyOnFailure:
		return c.ExitCode != 0
	}
	return !init || c.ExitCode != 0
}

// initialized reports whether the main containers may run: all init containers have
// succeeded, sidecars have started. Once a main container exists, that is settled.
func (v *view) initialized() bool {
	if v.mainExists() {
		return true
	}
	for i := range v.pod.Spec.InitContainers {
		spec := &v.pod.Spec.InitContainers[i]
		c := v.latest[spec.Name]
		if isSidecar(spec) {
			if !running(c) || !v.o.Started[c.ID] || v.o.Busy[spec.Name] {
				return false
			}
		} else if !exited(c) || c.ExitCode != 0 {
			return false
		}
	}
	return true
}

func (v *view) mainExists() bool {
	for i := range v.pod.Spec.Containers {
		if v.latest[v.pod.Spec.Containers[i].Name] != nil {
			return true
		}
	}
	return false
}

// finished reports whether a pod has come to its end by itself, and how.
func (v *view) finished() (corev1.PodPhase, bool) {
	for i := range v.pod.Spec.InitContainers {
		spec := &v.pod.Spec.InitContainers[i]
		c := v.latest[spec.Name]
		if !isSidecar(spec) && exited(c) && c.ExitCode != 0 && !v.mainExists() && !v.restarts(spec, true, c) {
			return corev1.PodFailed, true
		}
	}
	phase := corev1.PodSucceeded
	for i := range v.pod.Spec.Containers {
		spec := &v.pod.Spec.Containers[i]
		c := v.latest[spec.Name]
		if !exited(c) || v.o.Busy[spec.Name] || v.restarts(spec, false, c) {
			return "", false
		}
		if c.ExitCode != 0 {
			phase = corev1.PodFailed
		}
	}
	return phase, len(v.pod.Spec.Containers) > 0
}

// Decide says what to do with a pod. It is a pure function: the same arguments always
// give the same answer.
func Decide(pod *corev1.Pod, o *Observed, now time.Time) Decision {
	var d Decision
	v := newView(pod, o)
	switch {
	case o.Gone || pod.DeletionTimestamp != nil:
		if v.stopAll(&d, v.grace(now), "") && !o.Busy[opSandbox] && !o.Attaching {
			d.do(Action{Kind: ActRemove})
		}
		return d
	case o.Stopped != nil:
		v.stopAndRelease(&d, v.grace(now), o.Stopped.Message)
		return d
	case pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed:
		v.stopAndRelease(&d, v.grace(now), "")
		return d
	}
	if dl := pod.Spec.ActiveDeadlineSeconds; dl != nil && pod.Status.StartTime != nil {
		end := pod.Status.StartTime.Add(time.Duration(*dl) * time.Second)
		d.wakeAt(end) // the caller sets Stopped when it has passed
	}
	if _, done := v.finished(); done {
		v.stopAndRelease(&d, v.grace(now), "")
		return d
	}
	if !v.sandbox(&d, now) {
		return d
	}
	if !v.initialized() {
		v.initContainers(&d, now)
		return d
	}
	for i := range pod.Spec.InitContainers {
		if spec := &pod.Spec.InitContainers[i]; isSidecar(spec) {
			v.keep(&d, spec, true, now)
		}
	}
	for i := range pod.Spec.Containers {
		v.keep(&d, &pod.Spec.Containers[i], false, now)
	}
	return d
}

// grace is how long containers have until they are killed.
func (v *view) grace(now time.Time) time.Duration {
	seconds := int64(30)
	if g := v.pod.Spec.TerminationGracePeriodSeconds; g != nil {
		seconds = *g
	}
	if g := v.pod.DeletionGracePeriodSeconds; g != nil {
		seconds = *g
	}
	if v.o.Gone && v.pod.DeletionGracePeriodSeconds == nil {
		// Removed by force, without a word about grace.
		seconds = min(seconds, 1)
	}
	left := time.Duration(seconds) * time.Second
	if !v.o.TerminatingSince.IsZero() {
		left -= now.Sub(v.o.TerminatingSince)
	}
	return max(left, 0)
}

// stopAll ends all containers, sidecars after the others and in reverse order, and
// reports whether nothing runs any more.
func (v *view) stopAll(d *Decision, grace time.Duration, why string) bool {
	kill := func(spec *corev1.Container) (live bool) {
		c := v.latest[spec.Name]
		switch {
		case v.o.Busy[spec.Name]:
			return true
		case c == nil || exited(c):
			return false
		}
		d.do(Action{Kind: ActKill, Container: spec.Name, ID: c.ID, Grace: grace, Message: why})
		return true
	}
	live := false
	for i := range v.pod.Spec.Containers {
		live = kill(&v.pod.Spec.Containers[i]) || live
	}
	for i := range v.pod.Spec.InitContainers {
		if spec := &v.pod.Spec.InitContainers[i]; !isSidecar(spec) {
			live = kill(spec) || live
		}
	}
	if live {
		return false
	}
	for i := range slices.Backward(v.pod.Spec.InitContainers) {
		if spec := &v.pod.Spec.InitContainers[i]; isSidecar(spec) && kill(spec) {
			return false
		}
	}
	return true
}

// stopAndRelease ends a finished pod's rest and gives its network back. Its containers
// stay for their logs until the pod is deleted.
func (v *view) stopAndRelease(d *Decision, grace time.Duration, why string) {
	if v.stopAll(d, grace, why) && v.o.Sandbox != nil && !v.o.Released && !v.o.Busy[opSandbox] && !v.o.Attaching {
		d.do(Action{Kind: ActReleaseSandbox})
	}
}

// sandbox sees to it that there is a connected one, and reports whether there is.
func (v *view) sandbox(d *Decision, now time.Time) bool {
	s := v.o.Sandbox
	if s != nil && s.Ready && (v.o.Network || v.o.Attaching) {
		return true
	}
	if v.o.Busy[opSandbox] || v.later(d, opSandbox, now) {
		return false
	}
	if s != nil && !s.Ready {
		// Lost, as after a reboot of the node: its containers are lost with it.
		d.do(Action{Kind: ActReplaceSandbox, Attempt: s.Attempt + 1})
		return false
	}
	d.do(Action{Kind: ActCreateSandbox})
	return false
}

// later reports whether a failed attempt is not to be repeated yet.
func (v *view) later(d *Decision, key string, now time.Time) bool {
	f, ok := v.o.Failed[key]
	if !ok {
		return false
	}
	if f.Retry.IsZero() {
		return true
	}
	if now.Before(f.Retry) {
		d.wakeAt(f.Retry)
		return true
	}
	return false
}

// initContainers takes the next step of initialization.
func (v *view) initContainers(d *Decision, now time.Time) {
	for i := range v.pod.Spec.InitContainers {
		spec := &v.pod.Spec.InitContainers[i]
		c := v.latest[spec.Name]
		if !isSidecar(spec) && exited(c) && c.ExitCode == 0 {
			continue
		}
		v.keep(d, spec, true, now)
		if isSidecar(spec) && running(c) && v.o.Started[c.ID] && !v.o.Busy[spec.Name] {
			continue
		}
		return
	}
}

// keep starts a container that should run, kills one that is unhealthy and restarts one
// that has ended.
func (v *view) keep(d *Decision, spec *corev1.Container, init bool, now time.Time) {
	if v.o.Busy[spec.Name] {
		return
	}
	c := v.latest[spec.Name]
	switch {
	case c == nil:
		if !v.later(d, spec.Name, now) {
			d.do(Action{Kind: ActStart, Container: spec.Name})
		}
	case running(c):
		if u, bad := v.o.Unhealthy[c.ID]; bad {
			grace := 30 * time.Second
			if g := v.pod.Spec.TerminationGracePeriodSeconds; g != nil {
				grace = time.Duration(*g) * time.Second
			}
			if u.Grace != nil {
				grace = time.Duration(*u.Grace) * time.Second
			}
			d.do(Action{Kind: ActKill, Container: spec.Name, ID: c.ID, Grace: grace, Message: u.Message})
		}
	case exited(c):
		if !v.restarts(spec, init, c) || v.later(d, spec.Name, now) {
			return
		}
		if at := c.FinishedAt.Add(CrashDelay(v.o.Streaks[spec.Name])); now.Before(at) {
			d.wakeAt(at)
			return
		}
		d.do(Action{Kind: ActStart, Container: spec.Name, Attempt: c.Attempt + 1})
	default:
		// Created but never started: what was to start it is gone. Begin again.
		d.do(Action{Kind: ActKill, Container: spec.Name, ID: c.ID, Message: "was never started"})
	}
}

// CrashDelay is how long to wait after a container's end, when it is the n-th in a row.
// The first restart is immediate.
func CrashDelay(n int) time.Duration {
	if n < 2 {
		return 0
	}
	d := crashFirst
	for range n - 2 {
		if d *= 2; d >= crashMax {
			return crashMax
		}
	}
	return d
}

// backingOff reports whether an ended container waits for its restart, and the message.
func (v *view) backingOff(spec *corev1.Container, c *driver.Container, now time.Time) (string, bool) {
	delay := CrashDelay(v.o.Streaks[spec.Name])
	if delay == 0 || !now.Before(c.FinishedAt.Add(delay)) {
		return "", false
	}
	return fmt.Sprintf("back-off %s restarting failed container=%s pod=%s_%s(%s)", delay, spec.Name, v.pod.Name, v.pod.Namespace, v.pod.UID), true
}
