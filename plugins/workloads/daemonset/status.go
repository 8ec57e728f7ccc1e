package daemonset

import (
	"time"

	appsv1 "k8s.io/api/apps/v1"

	"github.com/pintle-dev/pintle/plugins/workloads/control"
)

// status counts nodes.
func status(w *world) appsv1.DaemonSetStatus {
	s := w.ds.Status
	s.DesiredNumberScheduled, s.CurrentNumberScheduled, s.NumberMisscheduled = 0, 0, 0
	s.NumberReady, s.NumberAvailable, s.UpdatedNumberScheduled = 0, 0, 0
	for _, n := range w.nodes {
		pods := w.pods[n.Name]
		if !w.meant[n.Name].run {
			if len(pods) > 0 {
				s.NumberMisscheduled++
			}
			continue
		}
		s.DesiredNumberScheduled++
		if len(pods) == 0 {
			continue
		}
		s.CurrentNumberScheduled++
		p := pods[0]
		if w.updated(p) {
			s.UpdatedNumberScheduled++
		}
		if _, ready := control.PodReady(p); !ready {
			continue
		}
		s.NumberReady++
		if w.available(p) {
			s.NumberAvailable++
		}
	}
	s.NumberUnavailable = s.DesiredNumberScheduled - s.NumberAvailable
	return s
}

// soon returns when a ready pod will become available, 0 if none is waiting to. During a
// surge that need not be the pod that the status counts.
func soon(w *world) time.Duration {
	var first time.Duration
	for _, pods := range w.pods {
		for _, p := range pods {
			if _, left := control.PodAvailable(p, w.ds.Spec.MinReadySeconds, w.now); left > 0 && (first == 0 || left < first) {
				first = left
			}
		}
	}
	return first
}
