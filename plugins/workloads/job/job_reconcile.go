package job

import (
	"slices"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/pintle-dev/pintle/plugins/workloads/control"
)

// round is one look at a Job: what there is and what follows from it. The status of job is
// brought up to date on the way.
type round struct {
	job *batchv1.Job // a copy
	now time.Time
	// pods are all of the Job's, active those that run or will, open those that carry
	// the finalizer and have not been counted for good.
	pods, active, open []*v1.Pod

	ready, terminating int32
	succeeded, failed  int32 // with those not counted for good yet

	// Of an Indexed Job: before were complete when the round began, done are complete now,
	// broken have failed for good.
	before, done, broken indexes
	// last is the failed pod of each index that waits for its successor, which has to know
	// how often the index has failed. Only where failures are limited by index.
	last map[int]*v1.Pod

	backoff history
	// finish is how the Job ends, nil if it goes on.
	finish *batchv1.JobCondition
}

func indexed(job *batchv1.Job) bool {
	return job.Spec.CompletionMode != nil && *job.Spec.CompletionMode == batchv1.IndexedCompletion
}

func suspended(job *batchv1.Job) bool { return job.Spec.Suspend != nil && *job.Spec.Suspend }

// failedOnly reports whether a pod is replaced only when it has ended, not when its end has begun.
func failedOnly(job *batchv1.Job) bool {
	return job.Spec.PodFailurePolicy != nil || (job.Spec.PodReplacementPolicy != nil && *job.Spec.PodReplacementPolicy == batchv1.Failed)
}

// over reports whether a Job has ended.
func over(job *batchv1.Job) bool {
	return isTrue(job, batchv1.JobComplete) != nil || isTrue(job, batchv1.JobFailed) != nil
}

// elsewhere reports whether a Job is somebody else's to run.
func elsewhere(job *batchv1.Job) bool {
	return job.Spec.ManagedBy != nil && *job.Spec.ManagedBy != batchv1.JobControllerName
}

func tracked(p *v1.Pod) bool { return slices.Contains(p.Finalizers, batchv1.JobTrackingFinalizer) }

// hasFailed reports whether a pod counts as failed. One that is being deleted may never come to
// say so itself.
func hasFailed(job *batchv1.Job, p *v1.Pod) bool {
	return p.Status.Phase == v1.PodFailed ||
		(!failedOnly(job) && p.DeletionTimestamp != nil && p.Status.Phase != v1.PodSucceeded)
}

// look counts the pods of a Job. released are those whose finalizer has been taken off,
// whether the cache shows it or not.
func look(shared *batchv1.Job, pods []*v1.Pod, released func(types.UID) bool, was history, now time.Time) *round {
	r := &round{job: shared.DeepCopy(), pods: pods, now: now}
	s := &r.job.Status
	if s.UncountedTerminatedPods == nil {
		s.UncountedTerminatedPods = &batchv1.UncountedTerminatedPods{}
	}
	for _, p := range pods {
		switch {
		case control.PodActive(p):
			r.active = append(r.active, p)
			if _, ok := control.PodReady(p); ok {
				r.ready++
			}
		case !control.PodFinished(p):
			r.terminating++
		}
		if tracked(p) && !released(p.UID) {
			r.open = append(r.open, p)
		}
	}
	if s.StartTime == nil && !suspended(r.job) {
		s.StartTime = &metav1.Time{Time: now}
	}
	var newSucceeded, newFailed []*v1.Pod
	counted := int32(0)
	for _, p := range r.open {
		switch {
		case !r.valid(p):
		case p.Status.Phase == v1.PodSucceeded && !slices.Contains(s.UncountedTerminatedPods.Succeeded, p.UID):
			newSucceeded = append(newSucceeded, p)
		case hasFailed(r.job, p) && !slices.Contains(s.UncountedTerminatedPods.Failed, p.UID):
			newFailed = append(newFailed, p)
			if judge(r.job.Spec.PodFailurePolicy, p).counts {
				counted++
			}
		}
	}
	r.backoff = was.after(newSucceeded, newFailed)
	r.succeeded = s.Succeeded + int32(len(newSucceeded)+len(s.UncountedTerminatedPods.Succeeded))
	r.failed = s.Failed + counted + int32(len(s.UncountedTerminatedPods.Failed))
	if indexed(r.job) {
		r.lookAtIndexes()
	}
	r.judge()
	return r
}

// valid reports whether a pod counts at all: those of an Indexed Job need an index.
func (r *round) valid(p *v1.Pod) bool {
	if !indexed(r.job) {
		return true
	}
	i, ok := indexOf(p)
	return ok && i < int(*r.job.Spec.Completions)
}

func (r *round) lookAtIndexes() {
	spec, s := &r.job.Spec, &r.job.Status
	completions := int(*spec.Completions)
	r.before = parseIndexes(s.CompletedIndexes, completions)
	var done, broken []int
	if s.FailedIndexes != nil {
		r.broken = parseIndexes(*s.FailedIndexes, completions)
	}
	for _, p := range r.open {
		i, _ := indexOf(p)
		switch {
		case !r.valid(p):
		case p.Status.Phase == v1.PodSucceeded:
			done = append(done, i)
		case spec.BackoffLimitPerIndex != nil && hasFailed(r.job, p):
			v := judge(spec.PodFailurePolicy, p)
			if n, _ := failuresOf(p); v.failIndex || (v.counts && n >= *spec.BackoffLimitPerIndex) {
				broken = append(broken, i)
			}
		}
	}
	r.done = r.before.with(done...)
	r.broken = r.broken.with(broken...)
	r.succeeded = int32(r.done.count())
	if spec.BackoffLimitPerIndex == nil {
		return
	}
	r.last = map[int]*v1.Pod{}
	settled := r.done.union(r.broken).union(indexesOf(r.active))
	for _, p := range r.open {
		i, _ := indexOf(p)
		if !r.valid(p) || !hasFailed(r.job, p) || settled.has(i) {
			continue
		}
		if old := r.last[i]; old == nil || (absolute(old) <= absolute(p) && !finished(p).Before(finished(old))) {
			r.last[i] = p
		}
	}
}

func absolute(p *v1.Pod) int32 {
	counted, ignored := failuresOf(p)
	return counted + ignored
}

// judge decides whether the Job ends, apart from its completions. What an earlier round has
// decided stands.
func (r *round) judge() {
	spec := &r.job.Spec
	if c := isTrue(r.job, batchv1.JobSuccessCriteriaMet); c != nil {
		r.finish = c
		return
	}
	if c := isTrue(r.job, batchv1.JobFailureTarget); c != nil {
		r.finish = r.condition(batchv1.JobFailed, c.Reason, c.Message)
		return
	}
	fail := func(reason, message string) { r.finish = r.condition(batchv1.JobFailureTarget, reason, message) }
	for _, p := range r.pods {
		if spec.PodFailurePolicy != nil && hasFailed(r.job, p) {
			if v := judge(spec.PodFailurePolicy, p); v.failJob != "" {
				fail(batchv1.JobReasonPodFailurePolicy, v.failJob)
				return
			}
		}
	}
	switch {
	case r.failed > *spec.BackoffLimit || r.restartedTooOften():
		fail(batchv1.JobReasonBackoffLimitExceeded, "Job has reached the specified backoff limit")
	case spec.ActiveDeadlineSeconds != nil && !suspended(r.job) && r.deadline() <= 0:
		fail(batchv1.JobReasonDeadlineExceeded, "Job was active longer than specified deadline")
	case !indexed(r.job):
	case spec.BackoffLimitPerIndex != nil && spec.MaxFailedIndexes != nil && r.broken.count() > int(*spec.MaxFailedIndexes):
		fail(batchv1.JobReasonMaxFailedIndexesExceeded, "Job has exceeded the specified maximal number of failed indexes")
	case spec.BackoffLimitPerIndex != nil && r.broken.count() > 0 && r.broken.count()+r.done.count() >= int(*spec.Completions):
		fail(batchv1.JobReasonFailedIndexes, "Job has failed indexes")
	default:
		if why, ok := enough(spec.SuccessPolicy, int(*spec.Completions), r.done); ok {
			r.finish = r.condition(batchv1.JobSuccessCriteriaMet, batchv1.JobReasonSuccessPolicy, why)
		}
	}
}

// deadline is how long the Job may still be active. It has started.
func (r *round) deadline() time.Duration {
	end := r.job.Status.StartTime.Add(time.Duration(*r.job.Spec.ActiveDeadlineSeconds) * time.Second)
	return end.Sub(r.now)
}

// restartedTooOften counts restarts in place against the limit of failures.
func (r *round) restartedTooOften() bool {
	if r.job.Spec.Template.Spec.RestartPolicy != v1.RestartPolicyOnFailure {
		return false
	}
	restarts := int32(0)
	for _, p := range r.pods {
		if p.Status.Phase != v1.PodRunning && p.Status.Phase != v1.PodPending {
			continue
		}
		for _, c := range slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses) {
			restarts += c.RestartCount
		}
	}
	return restarts > 0 && restarts >= *r.job.Spec.BackoffLimit
}

// work is what a round does to the pods.
type work struct {
	remove []*v1.Pod
	// create is how many pods to make; indexes are theirs where the Job is Indexed.
	create  int
	indexes []int
	// wait says that pods are to be made only then, because others have failed.
	wait time.Duration
}

// burst bounds how many pods one round makes or deletes.
const burst = 500

// plan compares the active pods with what the Job asks for. Deletions come first: a round
// does either.
func (r *round) plan() work {
	spec, active := &r.job.Spec, len(r.active)
	if suspended(r.job) {
		return work{remove: r.active}
	}
	want := int(*spec.Parallelism)
	switch {
	case spec.Completions != nil:
		want = max(min(want, int(*spec.Completions-r.succeeded)), 0)
	case r.succeeded > 0:
		// One success ends it; who runs may end in peace.
		want = active
	}
	if remove := r.surplus(active - want); len(remove) > 0 {
		return work{remove: remove[:min(len(remove), burst)]}
	}
	missing := want - active
	if failedOnly(r.job) {
		missing -= int(r.terminating)
	}
	if missing <= 0 {
		return work{}
	}
	if spec.BackoffLimitPerIndex == nil {
		if wait := r.backoff.left(r.now); wait > 0 {
			return work{wait: wait}
		}
	}
	missing = min(missing, burst)
	if !indexed(r.job) {
		return work{create: missing}
	}
	return r.pendingIndexes(missing)
}

// pendingIndexes picks the indexes that get pods now.
func (r *round) pendingIndexes(n int) work {
	taken := r.done.union(r.broken).union(indexesOf(r.active))
	if failedOnly(r.job) {
		var going []*v1.Pod
		for _, p := range r.pods {
			if p.DeletionTimestamp != nil && !control.PodFinished(p) {
				going = append(going, p)
			}
		}
		taken = taken.union(indexesOf(going))
	}
	var w work
	for _, i := range taken.missing(n, int(*r.job.Spec.Completions)) {
		if r.job.Spec.BackoffLimitPerIndex != nil {
			if left := leftForIndex(r.last[i], r.now); left > 0 {
				if w.wait == 0 || left < w.wait {
					w.wait = left
				}
				continue
			}
		}
		w.indexes = append(w.indexes, i)
	}
	w.create = len(w.indexes)
	return w
}

// surplus returns active pods to be deleted: those without a valid index, the less useful
// ones of those that share one, and more until there are n.
func (r *round) surplus(n int) []*v1.Pod {
	pods := slices.Clone(r.active)
	slices.SortStableFunc(pods, byUse)
	var remove, stay []*v1.Pod
	if !indexed(r.job) {
		stay = pods
	} else {
		seen := map[int]bool{}
		for _, p := range slices.Backward(pods) {
			if i, _ := indexOf(p); r.valid(p) && !seen[i] {
				seen[i] = true
				stay = append(stay, p)
			} else {
				remove = append(remove, p)
			}
		}
		slices.Reverse(stay)
	}
	if more := n - len(remove); more > 0 {
		remove = append(remove, stay[:min(more, len(stay))]...)
	}
	return remove
}

// byUse puts the pods first that are missed least: without a node, not yet running, not
// ready, ready for a short time, often restarted, young.
func byUse(a, b *v1.Pod) int {
	rank := func(p *v1.Pod) (out [6]int64) {
		if p.Spec.NodeName != "" {
			out[0] = 1
		}
		switch p.Status.Phase {
		case v1.PodRunning:
			out[1] = 2
		case v1.PodUnknown:
			out[1] = 1
		}
		if c, ok := control.PodReady(p); ok {
			out[2], out[3] = 1, -c.LastTransitionTime.Unix()
		}
		for _, c := range p.Status.ContainerStatuses {
			out[4] = min(out[4], -int64(c.RestartCount))
		}
		out[5] = -p.CreationTimestamp.Unix()
		return out
	}
	x, y := rank(a), rank(b)
	return slices.Compare(x[:], y[:])
}
