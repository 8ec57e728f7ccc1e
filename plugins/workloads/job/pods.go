package job

import (
	"fmt"
	"slices"
	"strconv"

	batchv1 "k8s.io/api/batch/v1"
	v1 "k8s.io/api/core/v1"

	"github.com/pintle-dev/pintle/plugins/workloads/control"
)

var kind = batchv1.SchemeGroupVersion.WithKind("Job")

const indexEnv = "JOB_COMPLETION_INDEX"

// podFor makes a pod of a Job. index is its place in w.indexes, if the Job is Indexed.
func (r *round) podFor(w work, n int) *v1.Pod {
	p := control.PodFrom(&r.job.Spec.Template, r.job, kind)
	if !tracked(p) {
		p.Finalizers = append(p.Finalizers, batchv1.JobTrackingFinalizer)
	}
	if !indexed(r.job) {
		return p
	}
	index := w.indexes[n]
	text := strconv.Itoa(index)
	p.GenerateName = indexedName(r.job.Name, text)
	p.Spec.Hostname = fmt.Sprintf("%s-%d", r.job.Name, index)
	if p.Annotations == nil {
		p.Annotations = map[string]string{}
	}
	if p.Labels == nil {
		p.Labels = map[string]string{}
	}
	p.Annotations[batchv1.JobCompletionIndexAnnotation] = text
	p.Labels[batchv1.JobCompletionIndexAnnotation] = text
	if r.job.Spec.BackoffLimitPerIndex != nil {
		counted, ignored := r.heritage(index)
		p.Annotations[batchv1.JobIndexFailureCountAnnotation] = strconv.Itoa(int(counted))
		if ignored > 0 {
			p.Annotations[batchv1.JobIndexIgnoredFailureCountAnnotation] = strconv.Itoa(int(ignored))
		}
	}
	for _, list := range [][]v1.Container{p.Spec.InitContainers, p.Spec.Containers} {
		for i := range list {
			tellIndex(&list[i])
		}
	}
	return p
}

// heritage is how often an index has failed, with its last pod.
func (r *round) heritage(index int) (counted, ignored int32) {
	old := r.last[index]
	if old == nil {
		return 0, 0
	}
	counted, ignored = failuresOf(old)
	if judge(r.job.Spec.PodFailurePolicy, old).counts {
		return counted + 1, ignored
	}
	return counted, ignored + 1
}

// tellIndex gives a container the index in its environment, unless the user has.
func tellIndex(c *v1.Container) {
	if slices.ContainsFunc(c.Env, func(e v1.EnvVar) bool { return e.Name == indexEnv }) {
		return
	}
	c.Env = append(c.Env, v1.EnvVar{Name: indexEnv, ValueFrom: &v1.EnvVarSource{
		FieldRef: &v1.ObjectFieldSelector{FieldPath: fmt.Sprintf("metadata.labels['%s']", batchv1.JobCompletionIndexAnnotation)},
	}})
}

// indexedName is the prefix of the name of a pod with an index; five letters follow, and a name
// of 63 is a host's.
func indexedName(job, index string) string {
	const longest = 63 - 5
	tail := "-" + index + "-"
	return job[:min(len(job), longest-len(tail))] + tail
}
