package deployment

import (
	"fmt"
	"math"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Reasons of conditions, as tools know them.
const (
	reasonUpdated         = "ReplicaSetUpdated"
	reasonCreateError     = "ReplicaSetCreateError"
	reasonCreated         = "NewReplicaSetCreated"
	reasonFound           = "FoundNewReplicaSet"
	reasonNewAvailable    = "NewReplicaSetAvailable"
	reasonTimedOut        = "ProgressDeadlineExceeded"
	reasonPaused          = "DeploymentPaused"
	reasonResumed         = "DeploymentResumed"
	reasonMinimum         = "MinimumReplicasAvailable"
	reasonMinimumNotThere = "MinimumReplicasUnavailable"
)

func condition(s *appsv1.DeploymentStatus, t appsv1.DeploymentConditionType) *appsv1.DeploymentCondition {
	for i := range s.Conditions {
		if s.Conditions[i].Type == t {
			return &s.Conditions[i]
		}
	}
	return nil
}

func dropCondition(s *appsv1.DeploymentStatus, t appsv1.DeploymentConditionType) {
	s.Conditions = slices.DeleteFunc(slices.Clone(s.Conditions), func(c appsv1.DeploymentCondition) bool { return c.Type == t })
}

// setCondition sets a condition unless it has that status for that reason already.
func setCondition(s *appsv1.DeploymentStatus, t appsv1.DeploymentConditionType, status v1.ConditionStatus, reason, message string, now time.Time) {
	old := condition(s, t)
	if old != nil && old.Status == status && old.Reason == reason {
		return
	}
	c := appsv1.DeploymentCondition{
		Type: t, Status: status, Reason: reason, Message: message,
		LastUpdateTime: metav1.NewTime(now), LastTransitionTime: metav1.NewTime(now),
	}
	if old != nil && old.Status == status {
		c.LastTransitionTime = old.LastTransitionTime
	}
	dropCondition(s, t)
	s.Conditions = append(s.Conditions, c)
}

func hasDeadline(d *appsv1.Deployment) bool {
	return d.Spec.ProgressDeadlineSeconds != nil && *d.Spec.ProgressDeadlineSeconds != math.MaxInt32
}

// count fills in the numbers of the status and the condition Available.
func count(d *appsv1.Deployment, current *appsv1.ReplicaSet, all []*appsv1.ReplicaSet, now time.Time) appsv1.DeploymentStatus {
	s := *d.Status.DeepCopy()
	s.ObservedGeneration = d.Generation
	s.Replicas, s.UpdatedReplicas, s.ReadyReplicas, s.AvailableReplicas = 0, 0, 0, 0
	var terminating int32
	for _, rs := range all {
		s.Replicas += rs.Status.Replicas
		s.ReadyReplicas += rs.Status.ReadyReplicas
		s.AvailableReplicas += rs.Status.AvailableReplicas
		if rs.Status.TerminatingReplicas != nil {
			terminating += *rs.Status.TerminatingReplicas
		}
	}
	s.TerminatingReplicas = &terminating
	if current != nil {
		s.UpdatedReplicas = current.Status.Replicas
	}
	s.UnavailableReplicas = max(0, specReplicas(all...)-s.AvailableReplicas)
	if s.AvailableReplicas >= *d.Spec.Replicas-maxUnavailable(d) {
		setCondition(&s, appsv1.DeploymentAvailable, v1.ConditionTrue, reasonMinimum, "Deployment has minimum availability.", now)
	} else {
		setCondition(&s, appsv1.DeploymentAvailable, v1.ConditionFalse, reasonMinimumNotThere, "Deployment does not have minimum availability.", now)
	}
	return s
}

// complete reports whether a rollout has come to its end.
func complete(d *appsv1.Deployment, s *appsv1.DeploymentStatus) bool {
	n := *d.Spec.Replicas
	return s.UpdatedReplicas == n && s.Replicas == n && s.AvailableReplicas == n && s.ObservedGeneration >= d.Generation
}

// progressed reports whether there is more of the new or less of the old than before.
func progressed(old, s *appsv1.DeploymentStatus) bool {
	return s.UpdatedReplicas > old.UpdatedReplicas ||
		s.Replicas-s.UpdatedReplicas < old.Replicas-old.UpdatedReplicas ||
		s.ReadyReplicas > old.ReadyReplicas || s.AvailableReplicas > old.AvailableReplicas
}

func timedOut(d *appsv1.Deployment, s *appsv1.DeploymentStatus, now time.Time) bool {
	c := condition(s, appsv1.DeploymentProgressing)
	if c == nil || c.Reason == reasonNewAvailable {
		return false
	}
	deadline := time.Duration(*d.Spec.ProgressDeadlineSeconds) * time.Second
	return c.Reason == reasonTimedOut || c.LastUpdateTime.Add(deadline).Before(now)
}

// rollout computes the status of a Deployment whose strategy has been applied.
func rollout(d *appsv1.Deployment, current *appsv1.ReplicaSet, all []*appsv1.ReplicaSet, now time.Time) appsv1.DeploymentStatus {
	s := count(d, current, all, now)
	progress(d, &s, current, now)
	dropCondition(&s, appsv1.DeploymentReplicaFailure)
	if f := replicaFailure(current, all); f != nil {
		// As it was, if nothing changed about it.
		if old := condition(&d.Status, appsv1.DeploymentReplicaFailure); old != nil && old.Reason == f.Reason {
			f = old
		}
		s.Conditions = append(s.Conditions, *f)
	}
	return s
}

func progress(d *appsv1.Deployment, s *appsv1.DeploymentStatus, current *appsv1.ReplicaSet, now time.Time) {
	if !hasDeadline(d) {
		dropCondition(s, appsv1.DeploymentProgressing)
		return
	}
	old := condition(&d.Status, appsv1.DeploymentProgressing)
	if s.Replicas == s.UpdatedReplicas && old != nil && old.Reason == reasonNewAvailable {
		return // the last rollout has ended; this is no new one
	}
	what := fmt.Sprintf("Deployment %q", d.Name)
	if current != nil {
		what = fmt.Sprintf("ReplicaSet %q", current.Name)
	}
	switch {
	case complete(d, s):
		setCondition(s, appsv1.DeploymentProgressing, v1.ConditionTrue, reasonNewAvailable, what+" has successfully progressed.", now)
	case progressed(&d.Status, s):
		// The time of the last progress moves even if the reason is the same.
		dropCondition(s, appsv1.DeploymentProgressing)
		setCondition(s, appsv1.DeploymentProgressing, v1.ConditionTrue, reasonUpdated, what+" is progressing.", now)
		if old != nil && old.Status == v1.ConditionTrue {
			condition(s, appsv1.DeploymentProgressing).LastTransitionTime = old.LastTransitionTime
		}
	case timedOut(d, s, now):
		setCondition(s, appsv1.DeploymentProgressing, v1.ConditionFalse, reasonTimedOut, what+" has timed out progressing.", now)
	}
}

func replicaFailure(current *appsv1.ReplicaSet, all []*appsv1.ReplicaSet) *appsv1.DeploymentCondition {
	for _, rs := range append([]*appsv1.ReplicaSet{current}, all...) {
		if rs == nil {
			continue
		}
		for _, c := range rs.Status.Conditions {
			if c.Type == appsv1.ReplicaSetReplicaFailure {
				return &appsv1.DeploymentCondition{
					Type: appsv1.DeploymentReplicaFailure, Status: c.Status, Reason: c.Reason, Message: c.Message,
					LastUpdateTime: c.LastTransitionTime, LastTransitionTime: c.LastTransitionTime,
				}
			}
		}
	}
	return nil
}

// checkDeadline returns when a rollout that doesn't move has to be looked at again, and
// false if it need not be.
func checkDeadline(d *appsv1.Deployment, s *appsv1.DeploymentStatus, now time.Time) (time.Duration, bool) {
	c := condition(&d.Status, appsv1.DeploymentProgressing)
	if !hasDeadline(d) || c == nil || complete(d, s) || c.Reason == reasonTimedOut {
		return 0, false
	}
	deadline := time.Duration(*d.Spec.ProgressDeadlineSeconds) * time.Second
	return max(0, c.LastUpdateTime.Add(deadline).Sub(now)) + time.Second, true
}
