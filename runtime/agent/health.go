package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/pintle-dev/pintle/runtime/probe"
	driver "github.com/pintle-dev/pintle/sdk/runtimedriver"
)

type targetOf = probe.Target

// removeLog removes a container's log with what was rotated away of it.
func removeLog(path string) error {
	if path == "" {
		return nil
	}
	old, err := filepath.Glob(path + ".*")
	if err != nil {
		return fmt.Errorf("remove log: %w", err)
	}
	for _, p := range append(old, path) {
		if err := os.Remove(p); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("remove log: %w", err)
		}
	}
	return nil
}

// watchHealth begins to probe a container that runs: its startup first, the rest when
// that has passed.
func (w *worker) watchHealth(c driver.Container) {
	spec := w.spec(c.Name)
	ctx, cancel := context.WithCancel(w.ctx)
	w.probes[c.ID] = cancel
	w.obs.Ready[c.ID] = spec.ReadinessProbe == nil
	t := target(spec, c.ID, w.facts())
	p := prober{w: w, pod: w.pod, spec: spec, t: t, startedAt: c.StartedAt}
	rest := func() {
		w.obs.Started[c.ID] = true
		if spec.LivenessProbe != nil {
			w.a.wg.Go(func() {
				p.run(ctx, "Liveness", spec.LivenessProbe, func(ok bool, msg string) {
					if !ok {
						w.unhealthy(c.ID, spec.LivenessProbe, fmt.Sprintf("Container %s failed liveness probe, will be restarted", spec.Name))
					}
				})
			})
		}
		if spec.ReadinessProbe != nil {
			w.a.wg.Go(func() {
				p.run(ctx, "Readiness", spec.ReadinessProbe, func(ok bool, _ string) { w.obs.Ready[c.ID] = ok })
			})
		}
	}
	if spec.StartupProbe == nil {
		rest()
		return
	}
	w.obs.Ready[c.ID] = false
	w.a.wg.Go(func() {
		started := false
		sctx, stop := context.WithCancel(ctx)
		defer stop()
		p.run(sctx, "Startup", spec.StartupProbe, func(ok bool, msg string) {
			switch {
			case ok && !started:
				started = true
				stop()
				w.obs.Ready[c.ID] = spec.ReadinessProbe == nil
				rest()
			case !ok:
				w.unhealthy(c.ID, spec.StartupProbe, fmt.Sprintf("Container %s failed startup probe, will be restarted", spec.Name))
			}
		})
	})
}

// unhealthy marks a container for a restart.
func (w *worker) unhealthy(id string, p *corev1.Probe, message string) {
	w.obs.Unhealthy[id] = Unhealthy{Message: message, Grace: p.TerminationGracePeriodSeconds}
}

// prober repeats one probe of one container.
type prober struct {
	w         *worker
	pod       *corev1.Pod
	spec      *corev1.Container
	t         probe.Target
	startedAt time.Time
}

// run probes until the context ends. changed runs in the worker's loop whenever the
// result has been another one for as often as the thresholds ask, and after the first
// success and every threshold of failures.
func (p prober) run(ctx context.Context, kind string, cfg *corev1.Probe, changed func(ok bool, msg string)) {
	delay := time.Until(p.startedAt.Add(time.Duration(cfg.InitialDelaySeconds) * time.Second))
	period := time.Duration(max(cfg.PeriodSeconds, 1)) * time.Second
	timer := time.NewTimer(max(delay, 0))
	defer timer.Stop()
	successes, failures := int32(0), int32(0)
	event := p.w.a.containerEvents(p.pod, p.spec.Name)
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		r, err := p.w.a.prober.Check(ctx, cfg, p.t)
		if ctx.Err() != nil {
			return
		}
		timer.Reset(period)
		if err != nil {
			p.w.log.Debug("cannot probe", "container", p.spec.Name, "probe", kind, "err", err)
			if !errors.Is(err, driver.ErrNotFound) {
				event(corev1.EventTypeWarning, "Unhealthy", fmt.Sprintf("%s probe errored: %v", kind, err))
			}
			continue
		}
		report := func(ok bool) {
			p.w.send(func() {
				if ctx.Err() == nil {
					changed(ok, r.Message)
				}
			})
		}
		if r.OK {
			failures = 0
			if successes++; successes == max(cfg.SuccessThreshold, 1) {
				report(true)
			}
			continue
		}
		successes = 0
		failures++
		event(corev1.EventTypeWarning, "Unhealthy", fmt.Sprintf("%s probe failed: %s", kind, r.Message))
		if failures == max(cfg.FailureThreshold, 1) {
			report(false)
		}
	}
}
