package statefulset

import (
	"time"

	appsv1 "k8s.io/api/apps/v1"
	v1 "k8s.io/api/core/v1"

	"github.com/pintle-dev/pintle/plugins/workloads/control"
)

// count computes the status from the pods, of which some may be nil. It also returns when
// a ready pod will become available, 0 if none is waiting to.
func count(w *world, pods []*v1.Pod) (appsv1.StatefulSetStatus, time.Duration) {
	s := appsv1.StatefulSetStatus{
		ObservedGeneration: w.set.Generation,
		CurrentRevision:    w.current.Name,
		UpdateRevision:     w.update.Name,
		CollisionCount:     w.collisions,
		Conditions:         w.set.Status.Conditions,
	}
	var soon time.Duration
	for _, p := range pods {
		if p == nil {
			continue
		}
		s.Replicas++
		if _, ready := control.PodReady(p); ready && p.Status.Phase == v1.PodRunning {
			s.ReadyReplicas++
			available, left := control.PodAvailable(p, w.set.Spec.MinReadySeconds, w.now)
			if available {
				s.AvailableReplicas++
			} else if soon == 0 || left < soon {
				soon = left
			}
		}
		if p.DeletionTimestamp != nil {
			continue
		}
		r := p.Labels[appsv1.StatefulSetRevisionLabel]
		if r == w.current.Name {
			s.CurrentReplicas++
		}
		if r == w.update.Name {
			s.UpdatedReplicas++
		}
	}
	return s, soon
}

// complete makes the new revision the current one when all pods have it and are ready.
func complete(set *appsv1.StatefulSet, s *appsv1.StatefulSetStatus) {
	n := *set.Spec.Replicas
	if set.Spec.UpdateStrategy.Type == appsv1.RollingUpdateStatefulSetStrategyType &&
		s.UpdatedReplicas == n && s.ReadyReplicas == n && s.Replicas == n {
		s.CurrentReplicas, s.CurrentRevision = s.UpdatedReplicas, s.UpdateRevision
	}
}
