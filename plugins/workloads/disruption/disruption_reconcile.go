package disruption

import (
	"fmt"
	"time"

	v1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	pdbhelper "k8s.io/component-helpers/apps/poddisruptionbudget"

	"github.com/pintle-dev/pintle/plugins/workloads/control"
)

const (
	// deletionTimeout is how long a pod counts as disrupted after its eviction was
	// allowed, without being deleted.
	deletionTimeout = 2 * time.Minute
	// staleTimeout is how long the condition DisruptionTarget may announce a disruption
	// that does not come.
	staleTimeout = 2 * time.Minute
)

// needsScale reports whether a budget counts in parts of what the owners of the pods
// ask for, rather than in pods that there are.
func needsScale(spec *policyv1.PodDisruptionBudgetSpec) bool {
	return spec.MaxUnavailable != nil || (spec.MinAvailable != nil && spec.MinAvailable.Type == intstr.String)
}

// expectation is how many pods there should be, and how many of them healthy. expected is the
// sum of what the owners ask for, or the number of pods where needsScale is false.
func expectation(spec *policyv1.PodDisruptionBudgetSpec, expected int32) (healthy int32, err error) {
	switch {
	case spec.MaxUnavailable != nil:
		n, err := intstr.GetScaledValueFromIntOrPercent(spec.MaxUnavailable, int(expected), true)
		if err != nil {
			return 0, fmt.Errorf("spec.maxUnavailable: %w", err)
		}
		return max(expected-int32(n), 0), nil
	case spec.MinAvailable != nil:
		n, err := intstr.GetScaledValueFromIntOrPercent(spec.MinAvailable, int(expected), true)
		if err != nil {
			return 0, fmt.Errorf("spec.minAvailable: %w", err)
		}
		return int32(n), nil
	}
	return 0, nil
}

// disrupted returns which of the pods whose eviction was allowed are still to go, which
// have waited too long for it, and when to look again (0: no need).
func disrupted(was map[string]metav1.Time, pods []*v1.Pod, now time.Time) (still map[string]metav1.Time, late []*v1.Pod, again time.Duration) {
	still = map[string]metav1.Time{}
	for _, p := range pods {
		since, ok := was[p.Name]
		if !ok || p.DeletionTimestamp != nil {
			continue
		}
		left := since.Add(deletionTimeout).Sub(now)
		if left < 0 {
			late = append(late, p)
			continue
		}
		still[p.Name] = since
		if left = max(left, time.Millisecond); again == 0 || left < again {
			again = left
		}
	}
	return still, late, again
}

// healthyPods counts the ready pods that are not about to go.
func healthyPods(pods []*v1.Pod, going map[string]metav1.Time) int32 {
	var n int32
	for _, p := range pods {
		if _, ok := going[p.Name]; ok || p.DeletionTimestamp != nil {
			continue
		}
		if _, ready := control.PodReady(p); ready {
			n++
		}
	}
	return n
}

// withStatus returns the budget with its new status, nil where nothing changes.
func withStatus(pdb *policyv1.PodDisruptionBudget, healthy, desired, expected int32, going map[string]metav1.Time) *policyv1.PodDisruptionBudget {
	allowed := max(healthy-desired, 0)
	// A budget without pods must not allow what happens to the first one before it is seen.
	if expected <= 0 {
		allowed = 0
	}
	s := &pdb.Status
	if s.CurrentHealthy == healthy && s.DesiredHealthy == desired && s.ExpectedPods == expected &&
		s.DisruptionsAllowed == allowed && s.ObservedGeneration == pdb.Generation &&
		apiequality.Semantic.DeepEqual(s.DisruptedPods, going) && pdbhelper.ConditionsAreUpToDate(pdb) {
		return nil
	}
	next := pdb.DeepCopy()
	next.Status = policyv1.PodDisruptionBudgetStatus{
		ObservedGeneration: pdb.Generation, DisruptedPods: going, DisruptionsAllowed: allowed,
		CurrentHealthy: healthy, DesiredHealthy: desired, ExpectedPods: expected, Conditions: next.Status.Conditions,
	}
	pdbhelper.UpdateDisruptionAllowedCondition(next)
	return next
}

// failed returns the budget with a status that allows nothing, since it can't be computed; nil
// where it says so already.
func failed(pdb *policyv1.PodDisruptionBudget, cause error) *policyv1.PodDisruptionBudget {
	next := pdb.DeepCopy()
	next.Status.DisruptionsAllowed = 0
	changed := meta.SetStatusCondition(&next.Status.Conditions, metav1.Condition{
		Type: policyv1.DisruptionAllowedCondition, Status: metav1.ConditionFalse, Reason: policyv1.SyncFailedReason,
		Message: cause.Error(), ObservedGeneration: next.Status.ObservedGeneration,
	})
	if !changed && pdb.Status.DisruptionsAllowed == 0 {
		return nil
	}
	return next
}

// stale reports whether a pod was announced to be disrupted and lives on, and after which
// time the announcement is to be taken back.
func stale(p *v1.Pod, now time.Time) (time.Duration, bool) {
	if p.DeletionTimestamp != nil || control.PodFinished(p) {
		return 0, false
	}
	for _, c := range p.Status.Conditions {
		// The kubelet may take as long as it wants from its announcement to the end of a pod.
		if c.Type == v1.DisruptionTarget && c.Status == v1.ConditionTrue && c.Reason != v1.PodReasonTerminationByKubelet {
			return max(c.LastTransitionTime.Add(staleTimeout).Sub(now), 0), true
		}
	}
	return 0, false
}

// matters reports whether a change of a pod can change the status of a budget.
func matters(a, b *v1.Pod) bool {
	_, wasReady := control.PodReady(a)
	_, isReady := control.PodReady(b)
	was, is := metav1.GetControllerOfNoCopy(a), metav1.GetControllerOfNoCopy(b)
	return wasReady != isReady || (a.DeletionTimestamp == nil) != (b.DeletionTimestamp == nil) || a.UID != b.UID ||
		(was == nil) != (is == nil) || (was != nil && was.UID != is.UID) || !apiequality.Semantic.DeepEqual(a.Labels, b.Labels)
}
