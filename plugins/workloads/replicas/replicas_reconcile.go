package replicas

import (
	"time"

	appsv1 "k8s.io/api/apps/v1"
	v1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/pintle-dev/pintle/plugins/workloads/control"
)

// burst bounds how many pods one pass over an object makes or deletes.
const burst = 500

// plan is what a pass over an object does.
type plan struct {
	create int
	remove []*v1.Pod
}

// decide compares the active pods of an object with what it asks for. related are the
// active pods of all objects of the same owner; see leastUseful.
func decide(rs *appsv1.ReplicaSet, active, related []*v1.Pod, now time.Time) plan {
	diff := len(active) - int(*rs.Spec.Replicas)
	switch {
	case diff < 0:
		return plan{create: min(-diff, burst)}
	case diff > 0:
		return plan{remove: leastUseful(active, related, min(diff, burst), now)}
	}
	return plan{}
}

// status computes the status from the active pods, the number of terminating ones and
// the error of the pass, if any. It also returns when a ready pod will become available,
// 0 if none is waiting to.
func status(rs *appsv1.ReplicaSet, active []*v1.Pod, terminating int, failure error, now time.Time) (appsv1.ReplicaSetStatus, time.Duration) {
	s := *rs.Status.DeepCopy()
	s.Replicas, s.FullyLabeledReplicas, s.ReadyReplicas, s.AvailableReplicas = int32(len(active)), 0, 0, 0
	t := int32(terminating)
	s.TerminatingReplicas = &t
	s.ObservedGeneration = rs.Generation
	template := labels.Set(rs.Spec.Template.Labels).AsSelectorPreValidated()
	var soon time.Duration
	for _, p := range active {
		if template.Matches(labels.Set(p.Labels)) {
			s.FullyLabeledReplicas++
		}
		available, left := control.PodAvailable(p, rs.Spec.MinReadySeconds, now)
		switch {
		case available:
			s.ReadyReplicas++
			s.AvailableReplicas++
		case left > 0:
			s.ReadyReplicas++
			if soon == 0 || left < soon {
				soon = left
			}
		}
	}
	s.Conditions = failureCondition(rs, len(active), failure, now)
	return s, soon
}

// failureCondition sets or clears ReplicaFailure among the conditions.
func failureCondition(rs *appsv1.ReplicaSet, active int, failure error, now time.Time) []appsv1.ReplicaSetCondition {
	var out []appsv1.ReplicaSetCondition
	var old *appsv1.ReplicaSetCondition
	for i := range rs.Status.Conditions {
		if c := rs.Status.Conditions[i]; c.Type == appsv1.ReplicaSetReplicaFailure {
			old = &c
		} else {
			out = append(out, c)
		}
	}
	if failure == nil {
		return out
	}
	if old != nil {
		return append(out, *old)
	}
	reason := "FailedCreate"
	if active > int(*rs.Spec.Replicas) {
		reason = "FailedDelete"
	}
	return append(out, appsv1.ReplicaSetCondition{
		Type: appsv1.ReplicaSetReplicaFailure, Status: v1.ConditionTrue, Reason: reason,
		Message: failure.Error(), LastTransitionTime: metav1.NewTime(now),
	})
}

func sameStatus(a, b *appsv1.ReplicaSetStatus) bool { return apiequality.Semantic.DeepEqual(a, b) }
