package agent

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	driver "github.com/pintle-dev/pintle/sdk/runtimedriver"
)

// ComputeStatus says what to report of a pod. It starts from the status the pod has, so
// that what others wrote there stays. It is a pure function.
func ComputeStatus(pod *corev1.Pod, o *Observed, cfg StatusFacts, now time.Time) corev1.PodStatus {
	v := newView(pod, o)
	v.runtime = cfg.Runtime
	st := *pod.Status.DeepCopy()
	st.ObservedGeneration = pod.Generation
	if st.StartTime == nil {
		t := metav1.NewTime(now.Truncate(time.Second))
		st.StartTime = &t
	}
	st.HostIP = cfg.HostIP
	st.HostIPs = []corev1.HostIP{{IP: cfg.HostIP}}
	if len(o.PodIPs) > 0 {
		st.PodIP, st.PodIPs = o.PodIPs[0], nil
		for _, ip := range o.PodIPs {
			st.PodIPs = append(st.PodIPs, corev1.PodIP{IP: ip})
		}
	}
	st.InitContainerStatuses, st.ContainerStatuses = nil, nil
	for i := range pod.Spec.InitContainers {
		st.InitContainerStatuses = append(st.InitContainerStatuses, v.containerStatus(&pod.Spec.InitContainers[i], true, cfg, now))
	}
	for i := range pod.Spec.Containers {
		st.ContainerStatuses = append(st.ContainerStatuses, v.containerStatus(&pod.Spec.Containers[i], false, cfg, now))
	}
	terminal := pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
	switch {
	case terminal: // never goes back
	case o.Stopped != nil:
		st.Phase, st.Reason, st.Message = corev1.PodFailed, o.Stopped.Reason, o.Stopped.Message
		terminal = true
	default:
		st.Phase = v.phase(&st)
		terminal = st.Phase == corev1.PodSucceeded || st.Phase == corev1.PodFailed
	}
	v.conditions(&st, terminal, now)
	return st
}

// StatusFacts are what a status says beside the pod's own doings.
type StatusFacts struct {
	HostIP string
	// Runtime is the name of the container runtime, "containerd" where empty.
	Runtime string
	// ImageName translates an image id to what is shown as imageID.
	ImageName func(id string) string
}

func (v *view) containerStatus(spec *corev1.Container, init bool, cfg StatusFacts, now time.Time) corev1.ContainerStatus {
	started, ready := false, false
	st := corev1.ContainerStatus{Name: spec.Name, Image: spec.Image, Started: &started}
	c := v.latest[spec.Name]
	for _, list := range [][]corev1.ContainerStatus{v.pod.Status.InitContainerStatuses, v.pod.Status.ContainerStatuses} {
		for i := range list {
			if list[i].Name == spec.Name && c == nil {
				// What ran is forgotten by the runtime, not by us.
				st.RestartCount, st.LastTerminationState = list[i].RestartCount, list[i].LastTerminationState
				if t := list[i].State.Terminated; t != nil && (v.pod.DeletionTimestamp != nil || v.o.Gone) {
					st = list[i]
					return st
				}
			}
		}
	}
	if c == nil {
		st.State.Waiting = v.waiting(spec, init)
		return st
	}
	st.RestartCount = int32(c.Attempt)
	st.ContainerID = v.containerID(c)
	st.ImageID = c.ImageID
	if cfg.ImageName != nil {
		st.ImageID = cfg.ImageName(c.ImageID)
	}
	for i := range v.o.Containers {
		if p := &v.o.Containers[i]; p.Name == spec.Name && exited(p) && p.Attempt == c.Attempt-1 {
			st.LastTerminationState.Terminated = v.terminated(p)
		}
	}
	switch {
	case running(c):
		started, ready = v.o.Started[c.ID], v.o.Ready[c.ID]
		st.State.Running = &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(c.StartedAt)}
	case exited(c):
		ready = init && !isSidecar(spec) && c.ExitCode == 0
		st.State.Terminated = v.terminated(c)
		if v.ending() || !v.restarts(spec, init, c) {
			break
		}
		if f, ok := v.o.Failed[spec.Name]; ok {
			st.LastTerminationState.Terminated, st.State.Terminated = st.State.Terminated, nil
			st.State.Waiting = &corev1.ContainerStateWaiting{Reason: f.Reason, Message: f.Message}
		} else if msg, ok := v.backingOff(spec, c, now); ok {
			st.LastTerminationState.Terminated, st.State.Terminated = st.State.Terminated, nil
			st.State.Waiting = &corev1.ContainerStateWaiting{Reason: reasonCrashLoopBackOff, Message: msg}
		}
	default:
		st.State.Waiting = v.waiting(spec, init)
	}
	st.Ready = ready
	return st
}

// containerID is a container's id as a status has it, with the name of its runtime.
func (v *view) containerID(c *driver.Container) string {
	return cmp.Or(v.runtime, "containerd") + "://" + c.ID
}

// ending reports whether the pod is on its way out.
func (v *view) ending() bool {
	return v.o.Gone || v.o.Stopped != nil || v.pod.DeletionTimestamp != nil
}

// waiting says what a container that has not run waits for.
func (v *view) waiting(spec *corev1.Container, init bool) *corev1.ContainerStateWaiting {
	if f, ok := v.o.Failed[spec.Name]; ok {
		return &corev1.ContainerStateWaiting{Reason: f.Reason, Message: f.Message}
	}
	if len(v.pod.Spec.InitContainers) > 0 && !v.initialized() {
		return &corev1.ContainerStateWaiting{Reason: "PodInitializing"}
	}
	return &corev1.ContainerStateWaiting{Reason: "ContainerCreating"}
}

func (v *view) terminated(c *driver.Container) *corev1.ContainerStateTerminated {
	t := &corev1.ContainerStateTerminated{
		ExitCode: c.ExitCode, StartedAt: metav1.NewTime(c.StartedAt), FinishedAt: metav1.NewTime(c.FinishedAt),
		ContainerID: v.containerID(c), Message: v.o.Messages[c.ID],
	}
	switch {
	case c.OOMKilled:
		t.Reason = "OOMKilled"
	case c.ExitCode == 0:
		t.Reason = "Completed"
	case c.StartedAt.IsZero():
		t.Reason = "StartError"
	default:
		t.Reason = "Error"
	}
	return t
}

// phase sums the containers up.
func (v *view) phase(st *corev1.PodStatus) corev1.PodPhase {
	if p, done := v.finished(); done {
		// Sidecars may still be ending; the pod has come to its end when they have.
		for i := range v.pod.Spec.InitContainers {
			if c := v.latest[v.pod.Spec.InitContainers[i].Name]; c != nil && !exited(c) {
				return corev1.PodRunning
			}
		}
		return p
	}
	if v.pod.DeletionTimestamp != nil && v.allEnded() {
		// It will not run again, whatever its policy says.
		return v.endPhase()
	}
	if !v.initialized() {
		return corev1.PodPending
	}
	for i := range st.ContainerStatuses {
		s := &st.ContainerStatuses[i]
		if s.State.Waiting != nil && s.LastTerminationState.Terminated == nil {
			return corev1.PodPending
		}
	}
	return corev1.PodRunning
}

// allEnded reports whether nothing runs and nothing is about to.
func (v *view) allEnded() bool {
	for _, c := range v.latest {
		if !exited(c) {
			return false
		}
	}
	for _, list := range [][]corev1.Container{v.pod.Spec.InitContainers, v.pod.Spec.Containers} {
		for i := range list {
			if v.o.Busy[list[i].Name] {
				return false
			}
		}
	}
	return true
}

// endPhase is how a pod that was ended from outside is counted: as a success only if all
// its containers ran and ended well.
func (v *view) endPhase() corev1.PodPhase {
	for i := range v.pod.Spec.Containers {
		if c := v.latest[v.pod.Spec.Containers[i].Name]; c == nil || c.ExitCode != 0 {
			return corev1.PodFailed
		}
	}
	return corev1.PodSucceeded
}

func (v *view) conditions(st *corev1.PodStatus, terminal bool, now time.Time) {
	set := func(t corev1.PodConditionType, ok bool, reason, message string) {
		status := corev1.ConditionFalse
		if ok {
			status = corev1.ConditionTrue
			reason, message = "", ""
		}
		setCondition(st, corev1.PodCondition{Type: t, Status: status, Reason: reason, Message: message, ObservedGeneration: v.pod.Generation}, now)
	}
	set(corev1.PodReadyToStartContainers, v.o.Sandbox != nil && v.o.Sandbox.Ready && v.o.Network && !v.o.Released, "", "")

	completed := ""
	if st.Phase == corev1.PodSucceeded {
		completed = "PodCompleted"
	} else if terminal {
		completed = "PodFailed"
	}
	var notInit []string
	if !v.initialized() && st.Phase != corev1.PodSucceeded {
		for i := range v.pod.Spec.InitContainers {
			spec := &v.pod.Spec.InitContainers[i]
			c := v.latest[spec.Name]
			if !(exited(c) && c.ExitCode == 0) && !(isSidecar(spec) && running(c) && v.o.Started[c.ID]) {
				notInit = append(notInit, spec.Name)
			}
		}
	}
	initReason := "ContainersNotInitialized"
	if terminal && completed == "PodCompleted" {
		initReason = completed
	}
	set(corev1.PodInitialized, len(notInit) == 0, initReason, fmt.Sprintf("containers with incomplete status: [%s]", strings.Join(notInit, " ")))

	var unready []string
	for i := range st.InitContainerStatuses {
		if isSidecar(&v.pod.Spec.InitContainers[i]) && !st.InitContainerStatuses[i].Ready {
			unready = append(unready, st.InitContainerStatuses[i].Name)
		}
	}
	for i := range st.ContainerStatuses {
		if !st.ContainerStatuses[i].Ready {
			unready = append(unready, st.ContainerStatuses[i].Name)
		}
	}
	ready, reason, message := len(unready) == 0 && !terminal, "ContainersNotReady", fmt.Sprintf("containers with unready status: [%s]", strings.Join(unready, " "))
	if completed != "" {
		reason, message = completed, ""
	}
	set(corev1.ContainersReady, ready, reason, message)
	if ready {
		for _, g := range v.pod.Spec.ReadinessGates {
			if !hasCondition(st, g.ConditionType) {
				ready, reason = false, "ReadinessGatesNotReady"
				message = fmt.Sprintf("corresponding condition of pod readiness gate %q does not exist or is not True.", g.ConditionType)
			}
		}
	}
	set(corev1.PodReady, ready, reason, message)
}

func hasCondition(st *corev1.PodStatus, t corev1.PodConditionType) bool {
	for _, c := range st.Conditions {
		if c.Type == t {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

func setCondition(st *corev1.PodStatus, c corev1.PodCondition, now time.Time) {
	c.LastTransitionTime = metav1.NewTime(now.Truncate(time.Second))
	for i := range st.Conditions {
		have := &st.Conditions[i]
		if have.Type != c.Type {
			continue
		}
		if have.Status == c.Status {
			c.LastTransitionTime = have.LastTransitionTime
		}
		*have = c
		return
	}
	st.Conditions = append(st.Conditions, c)
}
