package job

import (
	"cmp"
	"slices"

	batchv1 "k8s.io/api/batch/v1"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// mostUncounted bounds how many UIDs the status holds, and so how many pods one round counts.
const mostUncounted = 500

func isTrue(job *batchv1.Job, typ batchv1.JobConditionType) *batchv1.JobCondition {
	for i := range job.Status.Conditions {
		if c := &job.Status.Conditions[i]; c.Type == typ && c.Status == v1.ConditionTrue {
			return c
		}
	}
	return nil
}

func (r *round) condition(typ batchv1.JobConditionType, reason, message string) *batchv1.JobCondition {
	at := metav1.NewTime(r.now)
	return &batchv1.JobCondition{Type: typ, Status: v1.ConditionTrue, LastProbeTime: at, LastTransitionTime: at, Reason: reason, Message: message}
}

// setCondition writes a condition and reports whether that changed anything. What has never been
// true is not said to be false.
func (r *round) setCondition(c batchv1.JobCondition) bool {
	s := &r.job.Status
	i := slices.IndexFunc(s.Conditions, func(have batchv1.JobCondition) bool { return have.Type == c.Type })
	if i < 0 {
		if c.Status == v1.ConditionFalse {
			return false
		}
		s.Conditions = append(s.Conditions, c)
		return true
	}
	have := &s.Conditions[i]
	if have.Status == c.Status && have.Reason == c.Reason && have.Message == c.Message {
		return false
	}
	*have = c
	return true
}

// suspend says in the status whether the Job is suspended. It returns the event to be
// recorded where that is new.
func (r *round) suspend() (reason, message string) {
	s := &r.job.Status
	if suspended(r.job) {
		if !r.setCondition(*r.condition(batchv1.JobSuspended, "JobSuspended", "Job suspended")) {
			return "", ""
		}
		s.StartTime = nil
		return "Suspended", "Job suspended"
	}
	c := *r.condition(batchv1.JobSuspended, "JobResumed", "Job resumed")
	c.Status = v1.ConditionFalse
	if !r.setCondition(c) {
		return "", ""
	}
	// The time for which a Job may be active starts anew.
	s.StartTime = &metav1.Time{Time: r.now}
	return "Resumed", "Job resumed"
}

// complete ends the Job where enough pods have succeeded. active are those that run.
func (r *round) complete(active int32) {
	done := r.succeeded > 0
	if n := r.job.Spec.Completions; n != nil {
		done = r.succeeded >= *n
	}
	if done && active == 0 {
		r.finish = r.condition(batchv1.JobSuccessCriteriaMet, batchv1.JobReasonCompletionsReached, "Reached expected number of succeeded pods")
	}
}

// numbers writes the counts of living pods and reports whether they changed.
func (r *round) numbers(active int32) bool {
	s := &r.job.Status
	changed := s.Active != active || s.Ready == nil || *s.Ready != r.ready || s.Terminating == nil || *s.Terminating != r.terminating
	ready, terminating := r.ready, r.terminating
	s.Active, s.Ready, s.Terminating = active, &ready, &terminating
	return changed
}

// count turns UIDs of pods that have lost their finalizer into numbers and reports whether there
// were any. open are the UIDs of those that still have it.
func (r *round) count(open map[types.UID]bool) bool {
	s := &r.job.Status
	move := func(list *[]types.UID, number *int32) bool {
		kept := slices.DeleteFunc(slices.Clone(*list), func(uid types.UID) bool { return !open[uid] })
		gone := len(*list) - len(kept)
		*number += int32(gone)
		if len(kept) == 0 {
			kept = nil
		}
		*list = kept
		return gone > 0
	}
	u := s.UncountedTerminatedPods
	succeeded, failed := move(&u.Succeeded, &s.Succeeded), move(&u.Failed, &s.Failed)
	return succeeded || failed
}

// settle notes the pods that have ended in the status. It returns those whose finalizer can be
// taken off when that is written, whether the status has changed, and whether there are more.
func (r *round) settle() (release []*v1.Pod, changed, more bool) {
	s := &r.job.Status
	u := s.UncountedTerminatedPods
	var completed []int
	pods := r.open
	if indexed(r.job) {
		pods = slices.Clone(pods)
		slices.SortStableFunc(pods, func(a, b *v1.Pod) int {
			i, _ := indexOf(a)
			j, _ := indexOf(b)
			return cmp.Compare(i, j)
		})
	}
	for _, p := range pods {
		failed := hasFailed(r.job, p)
		if !r.mayRelease(p, failed) {
			continue
		}
		release = append(release, p)
		switch {
		case p.Status.Phase == v1.PodSucceeded && !slices.Contains(u.Failed, p.UID):
			if i, _ := indexOf(p); indexed(r.job) {
				if r.valid(p) && !r.before.has(i) {
					completed, changed = append(completed, i), true
				}
			} else if !slices.Contains(u.Succeeded, p.UID) {
				u.Succeeded, changed = append(u.Succeeded, p.UID), true
			}
		// Whoever still runs when a Job fails has failed too.
		case failed || (r.finish != nil && r.finish.Type != batchv1.JobSuccessCriteriaMet):
			if r.valid(p) && !slices.Contains(u.Failed, p.UID) && judge(r.job.Spec.PodFailurePolicy, p).counts {
				u.Failed, changed = append(u.Failed, p.UID), true
			}
		}
		if len(completed)+len(u.Succeeded)+len(u.Failed) >= mostUncounted {
			more = true
			break
		}
	}
	if indexed(r.job) {
		changed = r.writeIndexes(completed) || changed
	}
	return release, changed, more
}

func (r *round) writeIndexes(completed []int) bool {
	s := &r.job.Status
	// What is beyond the bound of this round is complete in the next.
	done := r.before.with(completed...)
	text := done.String()
	changed := text != s.CompletedIndexes
	s.CompletedIndexes, s.Succeeded = text, int32(done.count())
	if r.job.Spec.BackoffLimitPerIndex == nil {
		return changed
	}
	broken := r.broken.String()
	if s.FailedIndexes == nil || *s.FailedIndexes != broken {
		s.FailedIndexes, changed = &broken, true
	}
	return changed
}

// mayRelease reports whether a pod is not needed any more to know what happened.
func (r *round) mayRelease(p *v1.Pod, failed bool) bool {
	if r.job.DeletionTimestamp != nil || r.finish != nil || p.Status.Phase == v1.PodSucceeded {
		return true
	}
	if !failed {
		return false
	}
	i, ok := indexOf(p)
	return r.last == nil || !ok || r.last[i] == nil || r.last[i].UID != p.UID
}

// announce writes how the Job will end, before the pods are let go, and reports whether that is
// new. After it finish is the condition that ends the Job.
func (r *round) announce() bool {
	if r.finish == nil {
		return false
	}
	switch c := *r.finish; c.Type {
	case batchv1.JobFailureTarget:
		r.finish = r.condition(batchv1.JobFailed, c.Reason, c.Message)
		return r.setCondition(c)
	case batchv1.JobSuccessCriteriaMet:
		r.finish = r.condition(batchv1.JobComplete, c.Reason, c.Message)
		return isTrue(r.job, batchv1.JobSuccessCriteriaMet) == nil && r.setCondition(c)
	}
	return false
}

// conclude ends the Job where all is counted and nothing runs, and reports whether it did.
func (r *round) conclude() bool {
	s := &r.job.Status
	u := s.UncountedTerminatedPods
	if r.finish == nil || len(u.Succeeded)+len(u.Failed) > 0 || r.terminating > 0 {
		return false
	}
	r.setCondition(*r.finish)
	if r.finish.Type == batchv1.JobComplete {
		at := r.finish.LastTransitionTime
		s.CompletionTime = &at
	}
	return true
}
