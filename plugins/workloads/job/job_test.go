package job_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"github.com/pintle-dev/pintle/plugins/workloads/control"
	"github.com/pintle-dev/pintle/plugins/workloads/control/controltest"
	"github.com/pintle-dev/pintle/plugins/workloads/job"
)

var build = controltest.One(job.New)

// made is a Job as the API server would have stored it.
func made(change ...func(*batchv1.JobSpec)) *batchv1.Job {
	labels := map[string]string{"job": "j"}
	j := &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{Name: "j", Namespace: "default", UID: "job-uid", Generation: 1},
		Spec: batchv1.JobSpec{
			Parallelism: ptr.To[int32](1), Completions: ptr.To[int32](1), BackoffLimit: ptr.To[int32](6), Suspend: ptr.To(false),
			CompletionMode: ptr.To(batchv1.NonIndexedCompletion), Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: v1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec:       v1.PodSpec{RestartPolicy: v1.RestartPolicyNever, Containers: []v1.Container{{Name: "c", Image: "i"}}},
			},
		},
	}
	for _, c := range change {
		c(&j.Spec)
	}
	return j
}

func size(parallelism, completions int32) func(*batchv1.JobSpec) {
	return func(s *batchv1.JobSpec) { s.Parallelism, s.Completions = &parallelism, &completions }
}

func asIndexed(s *batchv1.JobSpec) { s.CompletionMode = ptr.To(batchv1.IndexedCompletion) }

// cluster is a test's view of the fake one.
type cluster struct{ *controltest.Env }

// settle lets pass what events are gathered for.
func (e cluster) settle() {
	for range 3 {
		e.Pass(300 * time.Millisecond)
	}
}

func (e cluster) job() *batchv1.Job {
	return controltest.Get(e, e.Client.BatchV1().Jobs("default"), "j")
}

func (e cluster) change(change func(*batchv1.Job)) {
	controltest.Change(e, e.Client.BatchV1().Jobs("default"), "j", change)
	e.settle()
}

// active returns the pods that have not ended, by index if they have one.
func (e cluster) active() []v1.Pod {
	var out []v1.Pod
	for _, p := range e.Pods() {
		if control.PodActive(&p) {
			out = append(out, p)
		}
	}
	slices.SortFunc(out, func(a, b v1.Pod) int { return strings.Compare(index(&a)+a.Name, index(&b)+b.Name) })
	return out
}

func index(p *v1.Pod) string { return p.Annotations[batchv1.JobCompletionIndexAnnotation] }

func indexesOf(pods []v1.Pod) string {
	var out []string
	for _, p := range pods {
		out = append(out, index(&p))
	}
	return strings.Join(out, ",")
}

// end ends pods, with an exit code.
func (e cluster) end(code int32, pods ...v1.Pod) {
	for _, p := range pods {
		p.Status.Phase = v1.PodSucceeded
		if code != 0 {
			p.Status.Phase = v1.PodFailed
		}
		p.Status.ContainerStatuses = []v1.ContainerStatus{{Name: "c", State: v1.ContainerState{Terminated: &v1.ContainerStateTerminated{ExitCode: code, FinishedAt: metav1.Now()}}}}
		controltest.UpdateStatus(e, e.Client.CoreV1().Pods("default"), &p)
	}
	e.settle()
}

// ended returns the type and reason of the condition that ended the Job.
func (e cluster) ended() string {
	for _, c := range e.job().Status.Conditions {
		if c.Status == v1.ConditionTrue && (c.Type == batchv1.JobComplete || c.Type == batchv1.JobFailed) {
			return string(c.Type) + " " + c.Reason
		}
	}
	return ""
}

func run(t *testing.T, j *batchv1.Job, body func(e cluster)) {
	t.Helper()
	controltest.Run(t, []runtime.Object{j}, build, func(e *controltest.Env) {
		c := cluster{e}
		c.settle()
		body(c)
		if t.Failed() || c.ended() == "" {
			return
		}
		s := c.job().Status
		if u := s.UncountedTerminatedPods; u != nil && len(u.Succeeded)+len(u.Failed) > 0 {
			t.Errorf("uncounted at the end: %+v", u)
		}
		if s.Active != 0 || *s.Ready != 0 || *s.Terminating != 0 {
			t.Errorf("living at the end: %+v", s)
		}
		for _, p := range c.Pods() {
			if slices.Contains(p.Finalizers, batchv1.JobTrackingFinalizer) {
				t.Errorf("pod %s has kept its finalizer", p.Name)
			}
		}
	})
}

func TestCompletes(t *testing.T) {
	run(t, made(size(2, 3)), func(e cluster) {
		first := e.active()
		if len(first) != 2 || e.job().Status.Active != 2 || e.job().Status.StartTime == nil {
			e.Fatalf("%d pods, %+v", len(first), e.job().Status)
		}
		p := first[0]
		if !slices.Contains(p.Finalizers, batchv1.JobTrackingFinalizer) || metav1.GetControllerOf(&p).UID != "job-uid" || !strings.HasPrefix(p.Name, "j-") {
			e.Errorf("pod: %+v", p.ObjectMeta)
		}
		e.end(0, first[0])
		if s := e.job().Status; s.Succeeded != 1 || s.Active != 2 {
			e.Errorf("after one: %+v", s)
		}
		e.end(0, e.active()...)
		s := e.job().Status
		if e.ended() != "Complete CompletionsReached" || s.Succeeded != 3 || s.CompletionTime == nil {
			e.Errorf("at the end: %+v", s)
		}
		if !slices.Contains(e.Events(), "Normal Completed Job completed") {
			e.Errorf("events: %v", e.Events())
		}
	})
}

func TestWorkQueueEndsWithTheFirstSuccess(t *testing.T) {
	run(t, made(size(3, 0), func(s *batchv1.JobSpec) { s.Completions = nil }), func(e cluster) {
		pods := e.active()
		e.end(0, pods[0])
		if n := len(e.active()); n != 2 || e.ended() != "" {
			e.Errorf("%d pods, ended: %q", n, e.ended())
		}
		e.end(0, e.active()...)
		if e.ended() != "Complete CompletionsReached" || e.job().Status.Succeeded != 3 {
			e.Errorf("%+v", e.job().Status)
		}
	})
}

func TestBacksOffAndGivesUp(t *testing.T) {
	run(t, made(func(s *batchv1.JobSpec) { s.BackoffLimit = ptr.To[int32](1) }), func(e cluster) {
		e.end(1, e.active()...)
		if s := e.job().Status; s.Failed != 1 || len(e.active()) != 0 {
			e.Errorf("at once after a failure: %d pods, %+v", len(e.active()), s)
		}
		time.Sleep(10 * time.Second) // virtual
		e.settle()
		if n := len(e.active()); n != 1 {
			e.Fatalf("%d pods after ten seconds", n)
		}
		e.end(1, e.active()...)
		if e.ended() != "Failed BackoffLimitExceeded" || e.job().Status.Failed != 2 {
			e.Errorf("%+v", e.job().Status)
		}
		if !slices.Contains(e.Events(), "Warning BackoffLimitExceeded Job has reached the specified backoff limit") {
			e.Errorf("events: %v", e.Events())
		}
	})
}

func TestDeadline(t *testing.T) {
	run(t, made(size(2, 2), func(s *batchv1.JobSpec) { s.ActiveDeadlineSeconds = ptr.To[int64](30) }), func(e cluster) {
		time.Sleep(31 * time.Second) // virtual
		e.settle()
		if e.ended() != "Failed DeadlineExceeded" || len(e.active()) != 0 || e.job().Status.Failed != 2 {
			e.Errorf("%d pods, %+v", len(e.active()), e.job().Status)
		}
	})
}

func TestSuspend(t *testing.T) {
	run(t, made(size(2, 2), func(s *batchv1.JobSpec) { s.Suspend = ptr.To(true) }), func(e cluster) {
		condition := func() string {
			for _, c := range e.job().Status.Conditions {
				if c.Type == batchv1.JobSuspended {
					return string(c.Status) + " " + c.Reason
				}
			}
			return ""
		}
		if len(e.Pods()) != 0 || condition() != "True JobSuspended" || e.job().Status.StartTime != nil {
			e.Errorf("suspended: %d pods, %+v", len(e.Pods()), e.job().Status)
		}
		e.change(func(j *batchv1.Job) { j.Spec.Suspend = ptr.To(false) })
		if len(e.active()) != 2 || condition() != "False JobResumed" || e.job().Status.StartTime == nil {
			e.Errorf("resumed: %d pods, %+v", len(e.Pods()), e.job().Status)
		}
		e.change(func(j *batchv1.Job) { j.Spec.Suspend = ptr.To(true) })
		if s := e.job().Status; len(e.active()) != 0 || condition() != "True JobSuspended" || s.Active != 0 || s.Failed != 0 {
			e.Errorf("suspended again: %d pods, %+v", len(e.Pods()), s)
		}
	})
}

func TestIndexed(t *testing.T) {
	run(t, made(size(2, 4), asIndexed), func(e cluster) {
		first := e.active()
		if indexesOf(first) != "0,1" {
			e.Fatalf("indexes %s", indexesOf(first))
		}
		p := first[1]
		env := p.Spec.Containers[0].Env
		if p.Spec.Hostname != "j-1" || !strings.HasPrefix(p.Name, "j-1-") || p.Labels[batchv1.JobCompletionIndexAnnotation] != "1" ||
			len(env) != 1 || env[0].Name != "JOB_COMPLETION_INDEX" || env[0].ValueFrom.FieldRef.FieldPath != "metadata.labels['batch.kubernetes.io/job-completion-index']" {
			e.Errorf("pod: %+v %+v", p.ObjectMeta, p.Spec)
		}
		e.end(0, p)
		if s := e.job().Status; s.CompletedIndexes != "1" || indexesOf(e.active()) != "0,2" {
			e.Errorf("after index 1: %s, %+v", indexesOf(e.active()), s)
		}
		e.end(1, e.active()[0])
		time.Sleep(11 * time.Second) // virtual
		e.settle()
		if indexesOf(e.active()) != "0,2" || e.job().Status.Failed != 1 {
			e.Errorf("after index 0 failed: %s, %+v", indexesOf(e.active()), e.job().Status)
		}
		e.end(0, e.active()...)
		e.end(0, e.active()...)
		if s := e.job().Status; e.ended() != "Complete CompletionsReached" || s.CompletedIndexes != "0-3" || s.Succeeded != 4 {
			e.Errorf("at the end: %+v", s)
		}
	})
}

func TestElasticIndexed(t *testing.T) {
	run(t, made(size(4, 4), asIndexed), func(e cluster) {
		e.change(func(j *batchv1.Job) { j.Spec.Parallelism, j.Spec.Completions = ptr.To[int32](2), ptr.To[int32](2) })
		if indexesOf(e.active()) != "0,1" || e.job().Status.Failed != 0 {
			e.Errorf("indexes %s, %+v", indexesOf(e.active()), e.job().Status)
		}
	})
}

func TestBackoffLimitPerIndex(t *testing.T) {
	run(t, made(size(2, 2), asIndexed, func(s *batchv1.JobSpec) {
		s.BackoffLimitPerIndex, s.BackoffLimit = ptr.To[int32](1), ptr.To[int32](1000)
	}), func(e cluster) {
		if p := e.active()[0]; p.Annotations[batchv1.JobIndexFailureCountAnnotation] != "0" {
			e.Errorf("annotations: %v", p.Annotations)
		}
		e.end(0, e.active()[1])
		e.end(1, e.active()[0])
		time.Sleep(11 * time.Second) // virtual
		e.settle()
		next := e.active()
		if len(next) != 1 || next[0].Annotations[batchv1.JobIndexFailureCountAnnotation] != "1" {
			e.Fatalf("next: %+v", next)
		}
		e.end(1, next...)
		if s := e.job().Status; e.ended() != "Failed FailedIndexes" || *s.FailedIndexes != "0" || s.CompletedIndexes != "1" || s.Failed != 2 {
			e.Errorf("at the end: %q %+v", e.ended(), s)
		}
	})
}

func TestPodFailurePolicy(t *testing.T) {
	rule := func(action batchv1.PodFailurePolicyAction, codes ...int32) batchv1.PodFailurePolicyRule {
		return batchv1.PodFailurePolicyRule{Action: action, OnExitCodes: &batchv1.PodFailurePolicyOnExitCodesRequirement{Operator: batchv1.PodFailurePolicyOnExitCodesOpIn, Values: codes}}
	}
	policy := &batchv1.PodFailurePolicy{Rules: []batchv1.PodFailurePolicyRule{
		rule(batchv1.PodFailurePolicyActionFailJob, 42), rule(batchv1.PodFailurePolicyActionIgnore, 3),
		{Action: batchv1.PodFailurePolicyActionIgnore, OnPodConditions: []batchv1.PodFailurePolicyOnPodConditionsPattern{{Type: v1.DisruptionTarget, Status: v1.ConditionTrue}}},
	}}
	withPolicy := func(s *batchv1.JobSpec) {
		s.PodFailurePolicy, s.BackoffLimit, s.PodReplacementPolicy = policy, ptr.To[int32](0), ptr.To(batchv1.Failed)
	}
	run(t, made(withPolicy), func(e cluster) {
		e.end(3, e.active()...)
		time.Sleep(11 * time.Second) // virtual
		e.settle()
		if s := e.job().Status; len(e.active()) != 1 || s.Failed != 0 {
			e.Fatalf("after a failure that is ignored: %d pods, %+v", len(e.active()), s)
		}
		p := e.active()[0]
		p.Status.Conditions = []v1.PodCondition{{Type: v1.DisruptionTarget, Status: v1.ConditionTrue}}
		e.end(137, p)
		time.Sleep(21 * time.Second)
		e.settle()
		if s := e.job().Status; len(e.active()) != 1 || s.Failed != 0 {
			e.Fatalf("after a disruption: %d pods, %+v", len(e.active()), s)
		}
		p = e.active()[0]
		e.end(42, p)
		if e.ended() != "Failed PodFailurePolicy" {
			e.Fatalf("%+v", e.job().Status)
		}
		want := fmt.Sprintf("Warning PodFailurePolicy Container c for pod default/%s failed with exit code 42 matching FailJob rule at index 0", p.Name)
		if !slices.Contains(e.Events(), want) {
			e.Errorf("events: %v", e.Events())
		}
	})
}

func TestSuccessPolicy(t *testing.T) {
	run(t, made(size(3, 3), asIndexed, func(s *batchv1.JobSpec) {
		s.SuccessPolicy = &batchv1.SuccessPolicy{Rules: []batchv1.SuccessPolicyRule{{SucceededIndexes: ptr.To("1-2"), SucceededCount: ptr.To[int32](1)}}}
	}), func(e cluster) {
		e.end(0, e.active()[0])
		if e.ended() != "" {
			e.Fatalf("index 0 is not asked for: %+v", e.job().Status)
		}
		e.end(0, e.active()[1])
		if s := e.job().Status; e.ended() != "Complete SuccessPolicy" || len(e.active()) != 0 || s.Failed != 0 || s.CompletedIndexes != "0,2" {
			e.Errorf("%d pods, %+v", len(e.active()), s)
		}
	})
}

func TestRestartsInPlaceCount(t *testing.T) {
	run(t, made(func(s *batchv1.JobSpec) {
		s.Template.Spec.RestartPolicy, s.BackoffLimit = v1.RestartPolicyOnFailure, ptr.To[int32](2)
	}), func(e cluster) {
		p := e.active()[0]
		p.Status = v1.PodStatus{Phase: v1.PodRunning, ContainerStatuses: []v1.ContainerStatus{{Name: "c", RestartCount: 2}}}
		controltest.UpdateStatus(e, e.Client.CoreV1().Pods("default"), &p)
		e.settle()
		if e.ended() != "Failed BackoffLimitExceeded" {
			e.Errorf("%+v", e.job().Status)
		}
	})
}

func TestAdoptsAndReleases(t *testing.T) {
	run(t, made(size(1, 2)), func(e cluster) {
		p := e.active()[0]
		e.end(0, v1.Pod{ObjectMeta: p.ObjectMeta, Spec: p.Spec})
		orphan := v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "orphan", Namespace: "default", UID: types.UID("o"), Labels: map[string]string{"job": "j"}}}
		for _, q := range e.active() {
			q.Labels = map[string]string{"job": "none"}
			controltest.Update(e, e.Client.CoreV1().Pods("default"), &q)
		}
		controltest.Create(e, e.Client.CoreV1().Pods("default"), &orphan)
		e.settle()
		for _, q := range e.active() {
			ref, finalizer := metav1.GetControllerOf(&q), slices.Contains(q.Finalizers, batchv1.JobTrackingFinalizer)
			if mine := q.Labels["job"] == "j"; mine != (ref != nil) || mine != finalizer {
				e.Errorf("pod %s of %v: owner %v, finalizer %v", q.Name, q.Labels, ref, finalizer)
			}
		}
	})
}

func TestPodsOfAJobThatIsGone(t *testing.T) {
	run(t, made(size(2, 2)), func(e cluster) {
		controltest.Delete(e, e.Client.BatchV1().Jobs("default"), "j")
		e.settle()
		for _, p := range e.Pods() {
			if len(p.Finalizers) > 0 {
				e.Errorf("pod %s has finalizers %v", p.Name, p.Finalizers)
			}
		}
		if _, err := e.Client.BatchV1().Jobs("default").Create(e.Ctx, made(), metav1.CreateOptions{}); err != nil {
			e.Fatal(err) // the harness looks at it
		}
	})
}

func TestManagedElsewhere(t *testing.T) {
	run(t, made(func(s *batchv1.JobSpec) { s.ManagedBy = ptr.To("acme.io/queue") }), func(e cluster) {
		if len(e.Pods()) != 0 || e.job().Status.StartTime != nil {
			e.Errorf("%d pods, %+v", len(e.Pods()), e.job().Status)
		}
	})
}
