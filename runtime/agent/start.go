package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/pintle-dev/pintle/runtime/image"
	"github.com/pintle-dev/pintle/runtime/logs"
	"github.com/pintle-dev/pintle/runtime/probe"
	"github.com/pintle-dev/pintle/runtime/volume"
	driver "github.com/pintle-dev/pintle/sdk/runtimedriver"
)

// Bounds of a termination message.
const (
	maxMessage     = 4096
	maxMessageLogs = 2048
	maxMessageTail = 80
)

// containerEvents makes events that point to a container of the pod.
func (a *Agent) containerEvents(pod *corev1.Pod, name string) func(eventType, reason, message string) {
	field := "spec.containers{" + name + "}"
	for i := range pod.Spec.InitContainers {
		if pod.Spec.InitContainers[i].Name == name {
			field = "spec.initContainers{" + name + "}"
		}
	}
	ref := &corev1.ObjectReference{
		APIVersion: "v1", Kind: "Pod", Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID,
		ResourceVersion: pod.ResourceVersion, FieldPath: field,
	}
	return func(eventType, reason, message string) { a.recorder.Event(ref, eventType, reason, message) }
}

// startOp starts one attempt of a container.
func (w *worker) startOp(act Action) func(ctx context.Context) (func(), error) {
	pod, spec, sb, facts := w.pod, w.spec(act.Container), *w.obs.Sandbox, w.facts()
	prune := w.tooOld(act.Container, act.Attempt)
	joined := w.joined
	if w.obs.Network {
		joined = nil
	}
	a := w.a
	return func(ctx context.Context) (func(), error) {
		event := a.containerEvents(pod, spec.Name)
		for _, c := range prune {
			if err := a.forgetContainer(ctx, c); err != nil {
				w.log.Warn("cannot remove an old container", "container", c.Name, "err", err)
			}
		}
		secrets, err := a.pullSecrets(ctx, pod)
		if err != nil {
			event(corev1.EventTypeWarning, "FailedToRetrieveImagePullSecret", err.Error())
		}
		_, err = a.puller.Ensure(ctx, image.Request{Key: string(pod.UID), Ref: spec.Image, Policy: pullPolicy(spec), Secrets: secrets, Event: event})
		if err != nil {
			var ie *image.Error
			if errors.As(err, &ie) {
				retry := ie.Retry
				if retry.IsZero() {
					retry = time.Now().Add(time.Minute) // only a change of the pod will help
				}
				return nil, &failure{reason: ie.Reason, retry: retry, err: errors.New(ie.Message)}
			}
			return nil, err
		}
		paths, err := w.setupVolumes(ctx, pod, facts.podIPs)
		if err != nil {
			for _, one := range volume.Failures(err) {
				a.recorder.Event(pod, corev1.EventTypeWarning, "FailedMount", one.Error())
			}
			return nil, err
		}
		if joined != nil && asksForPodIP(spec) {
			if facts.podIPs, err = joined.wait(ctx); err != nil {
				return nil, err
			}
		}
		cfg, err := a.containerConfig(ctx, configInput{pod: pod, spec: spec, attempt: act.Attempt, podIPs: facts.podIPs, paths: paths})
		if err != nil {
			event(corev1.EventTypeWarning, "Failed", "Error: "+err.Error())
			return nil, &failure{reason: "CreateContainerConfigError", err: err}
		}
		id, err := a.cfg.Driver.CreateContainer(ctx, sb.ID, cfg)
		if err != nil {
			if ctx.Err() == nil {
				event(corev1.EventTypeWarning, "Failed", "Error: "+err.Error())
			}
			reason := "CreateContainerError"
			if strings.Contains(err.Error(), "runAsNonRoot") {
				reason = "CreateContainerConfigError"
			}
			return nil, &failure{reason: reason, err: err}
		}
		event(corev1.EventTypeNormal, "Created", "Container created")
		if joined != nil {
			if facts.podIPs, err = joined.wait(ctx); err != nil {
				return nil, errors.Join(err, a.cfg.Driver.RemoveContainer(context.WithoutCancel(ctx), id))
			}
		}
		if err := a.cfg.Driver.StartContainer(ctx, id); err != nil {
			event(corev1.EventTypeWarning, "Failed", "Error: "+err.Error())
			// It counts as an attempt that ended: what follows is the restart policy's.
			return nil, a.settleUnstarted(context.WithoutCancel(ctx), id, err)
		}
		event(corev1.EventTypeNormal, "Started", "Container started")
		if h := spec.Lifecycle; h != nil && h.PostStart != nil {
			if err := a.hook(ctx, h.PostStart, target(spec, id, facts)); err != nil {
				if ctx.Err() != nil {
					return nil, ctx.Err()
				}
				event(corev1.EventTypeWarning, "FailedPostStartHook", "PostStartHook failed: "+err.Error())
				kill := Action{Container: spec.Name, ID: id, Grace: podGrace(pod), Message: "FailedPostStartHook"}
				return nil, w.kill(ctx, pod, spec, kill, facts)
			}
		}
		return nil, nil
	}
}

// asksForPodIP reports whether a container's environment tells the pod's address, which
// must then be known before the container is made.
func asksForPodIP(c *corev1.Container) bool {
	for _, e := range c.Env {
		if e.ValueFrom != nil && e.ValueFrom.FieldRef != nil && strings.HasPrefix(e.ValueFrom.FieldRef.FieldPath, "status.podIP") {
			return true
		}
	}
	return false
}

// settleUnstarted makes sure that a container whose process could not be started is not
// taken for one that is about to.
func (a *Agent) settleUnstarted(ctx context.Context, id string, cause error) error {
	all, err := a.cfg.Driver.ListContainers(ctx)
	if err != nil {
		return errors.Join(cause, err)
	}
	for _, c := range all {
		if c.ID == id && c.State == driver.ContainerExited {
			return nil
		}
	}
	return &failure{reason: "RunContainerError", err: errors.Join(cause, a.cfg.Driver.RemoveContainer(ctx, id))}
}

func podGrace(pod *corev1.Pod) time.Duration {
	if g := pod.Spec.TerminationGracePeriodSeconds; g != nil {
		return time.Duration(*g) * time.Second
	}
	return 30 * time.Second
}

func pullPolicy(c *corev1.Container) corev1.PullPolicy {
	if c.ImagePullPolicy != "" {
		return c.ImagePullPolicy
	}
	return corev1.PullIfNotPresent
}

// tooOld lists the containers to forget before an attempt: all but the last one, whose
// logs people ask for with --previous.
func (w *worker) tooOld(name string, attempt int) []driver.Container {
	var out []driver.Container
	for _, c := range w.obs.Containers {
		if c.Name == name && (c.Attempt < attempt-1 || c.Attempt == attempt) && exited(&c) {
			out = append(out, c)
		}
	}
	return out
}

func (a *Agent) forgetContainer(ctx context.Context, c driver.Container) error {
	if err := a.cfg.Driver.RemoveContainer(ctx, c.ID); err != nil {
		return err
	}
	return removeLog(c.LogPath)
}

func (a *Agent) pullSecrets(ctx context.Context, pod *corev1.Pod) ([]corev1.Secret, error) {
	var out []corev1.Secret
	var missing []string
	for _, ref := range pod.Spec.ImagePullSecrets {
		s, err := a.objects.Secret(ctx, pod.Namespace, ref.Name)
		if apierrors.IsNotFound(err) {
			missing = append(missing, ref.Name)
			continue
		}
		if err != nil {
			return out, fmt.Errorf("pull secret %s/%s: %w", pod.Namespace, ref.Name, err)
		}
		out = append(out, *s)
	}
	if len(missing) > 0 {
		//nolint:staticcheck // the words of Kubernetes' event
		return out, fmt.Errorf("Unable to retrieve some image pull secrets (%s); attempting to pull the image may not succeed.", strings.Join(missing, ", "))
	}
	return out, nil
}

// kill ends a container: its preStop hook, the stop signal, and at the end of its grace
// period the end.
func (w *worker) kill(ctx context.Context, pod *corev1.Pod, spec *corev1.Container, act Action, f podFacts) error {
	msg := "Stopping container " + spec.Name
	if act.Message != "" {
		msg = act.Message
	}
	event := w.a.containerEvents(pod, spec.Name)
	event(corev1.EventTypeNormal, "Killing", msg)
	deadline := time.Now().Add(act.Grace)
	if h := spec.Lifecycle; h != nil && h.PreStop != nil && act.Grace > 0 {
		hctx, cancel := context.WithDeadline(ctx, deadline)
		err := w.a.hook(hctx, h.PreStop, target(spec, act.ID, f))
		cancel()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			event(corev1.EventTypeWarning, "FailedPreStopHook", "PreStopHook failed: "+err.Error())
		}
	}
	grace := max(time.Until(deadline), 0)
	if act.Grace > 0 {
		grace = max(grace, time.Second) // everybody gets to hear of it
	}
	return w.a.cfg.Driver.StopContainer(ctx, act.ID, grace)
}

// hook runs a lifecycle handler.
func (a *Agent) hook(ctx context.Context, h *corev1.LifecycleHandler, t targetOf) error {
	switch {
	case h.Exec != nil:
		var out probe.Output
		code, err := a.cfg.Driver.Exec(ctx, t.ID, h.Exec.Command, driver.Stdio{Out: &out, Err: &out})
		if err != nil {
			return err
		}
		if code != 0 {
			return fmt.Errorf("command %q exited with %d: %s", strings.Join(h.Exec.Command, " "), code, out.String())
		}
	case h.HTTPGet != nil:
		r, err := a.prober.Get(ctx, h.HTTPGet, t)
		if err != nil {
			return err
		}
		if !r.OK {
			return errors.New(r.Message)
		}
	case h.Sleep != nil:
		timer := time.NewTimer(time.Duration(h.Sleep.Seconds) * time.Second)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// terminationMessage reads what a container left to say.
func (w *worker) terminationMessage(c driver.Container) string {
	if c.Error != "" {
		return c.Error
	}
	spec := w.spec(c.Name)
	b, err := os.ReadFile(w.a.terminationFile(w.pod, c.Name, c.Attempt))
	if err == nil && len(b) > 0 {
		return string(b[:min(len(b), maxMessage)])
	}
	if spec.TerminationMessagePolicy != corev1.TerminationMessageFallbackToLogsOnError || c.ExitCode == 0 || c.LogPath == "" {
		return ""
	}
	buf := probe.Output{Max: 1 << 20}
	tail := int64(maxMessageTail)
	if err := logs.Read(w.ctx, c.LogPath, logs.Options{Tail: &tail}, nil, &buf, &buf); err != nil {
		return ""
	}
	s := buf.String()
	return s[max(0, len(s)-maxMessageLogs):]
}
