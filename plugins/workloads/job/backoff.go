package job

import (
	"slices"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
)

const (
	firstBackoff = 10 * time.Second
	mostBackoff  = 10 * time.Minute
)

// history is how a Job's pods have failed since one last succeeded.
type history struct {
	failures int32
	last     time.Time
}

// after returns the history when more pods have ended.
func (h history) after(succeeded, failed []*v1.Pod) history {
	var success time.Time
	for _, p := range succeeded {
		if at := finished(p); at.After(success) {
			success = at
		}
	}
	if len(succeeded) > 0 {
		h = history{}
	}
	for _, p := range failed {
		at := finished(p)
		if len(succeeded) > 0 && !at.After(success) {
			continue
		}
		h.failures++
		if at.After(h.last) || h.last.IsZero() {
			h.last = at
		}
	}
	return h
}

// left is how long to wait before the next pod is made.
func (h history) left(now time.Time) time.Duration {
	if h.failures <= 0 {
		return 0
	}
	delay := firstBackoff
	for i := int32(1); i < h.failures && delay < mostBackoff; i++ {
		delay *= 2
	}
	return max(h.last.Add(min(delay, mostBackoff)).Sub(now), 0)
}

// leftForIndex is how long to wait before the successor of a failed pod is made; nil had
// no predecessor.
func leftForIndex(p *v1.Pod, now time.Time) time.Duration {
	if p == nil {
		return 0
	}
	counted, ignored := failuresOf(p)
	return history{failures: counted + ignored + 1, last: finished(p)}.left(now)
}

// finished is when a pod ended, as well as can be told.
func finished(p *v1.Pod) time.Time {
	if at := containersFinished(p); !at.IsZero() {
		return at
	}
	for _, c := range p.Status.Conditions {
		if c.Type == v1.PodReady && c.Status == v1.ConditionFalse && !c.LastTransitionTime.IsZero() {
			return c.LastTransitionTime.Time
		}
	}
	if p.DeletionTimestamp != nil {
		grace := int64(0)
		if p.DeletionGracePeriodSeconds != nil {
			grace = *p.DeletionGracePeriodSeconds
		}
		return p.DeletionTimestamp.Add(-time.Duration(grace) * time.Second)
	}
	return p.CreationTimestamp.Time
}

// containersFinished is when the last container ended, zero if one has not. Sidecars end
// after the others.
func containersFinished(p *v1.Pod) time.Time {
	var last time.Time
	sidecar := func(name string) bool {
		return slices.ContainsFunc(p.Spec.InitContainers, func(c v1.Container) bool {
			return c.Name == name && c.RestartPolicy != nil && *c.RestartPolicy == v1.ContainerRestartPolicyAlways
		})
	}
	look := func(list []v1.ContainerStatus, counts func(string) bool) bool {
		for _, c := range list {
			if !counts(c.Name) {
				continue
			}
			if c.State.Terminated == nil || c.State.Terminated.FinishedAt.IsZero() {
				return false
			}
			if at := c.State.Terminated.FinishedAt.Time; at.After(last) {
				last = at
			}
		}
		return true
	}
	if !look(p.Status.ContainerStatuses, func(string) bool { return true }) || !look(p.Status.InitContainerStatuses, sidecar) {
		return time.Time{}
	}
	return last
}

// histories keeps the history of each Job. Safe for concurrent use.
type histories struct {
	mu sync.Mutex
	m  map[string]history
}

func (r *histories) get(key string) history {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.m[key]
}

func (r *histories) set(key string, x history) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if x.failures == 0 {
		delete(r.m, key)
		return
	}
	r.m[key] = x
}
