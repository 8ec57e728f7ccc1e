package daemonset

import (
	"time"

	appsv1 "k8s.io/api/apps/v1"

	"github.com/pintle-dev/pintle/plugins/workloads/control"
)

// status counts nodes. It also returns when a ready pod will become available, 0 if none
// is waiting to.
func status(w *world) (appsv1.DaemonSetStatus, time.Duration) {
	s := w.ds.Status
	s.DesiredNumberScheduled, s.CurrentNumberScheduled, s.NumberMisscheduled = 0, 0, 0
	s.NumberReady, s.NumberAvailable, s.UpdatedNumberScheduled = 0, 0, 0
	var soon time.Duration
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
		available, left := control.PodAvailable(p, w.ds.Spec.MinReadySeconds, w.now)
		if available {
			s.NumberAvailable++
		} else if soon == 0 || left < soon {
			soon = left
		}
	}
	s.NumberUnavailable = s.DesiredNumberScheduled - s.NumberAvailable
	return s, soon
}
