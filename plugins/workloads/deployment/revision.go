package deployment

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	v1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pintle-dev/pintle/plugins/workloads/history"
)

// Annotations by which kubectl knows the history of a Deployment.
const (
	revisionKey    = "deployment.kubernetes.io/revision"
	historyKey     = "deployment.kubernetes.io/revision-history"
	desiredKey     = "deployment.kubernetes.io/desired-replicas"
	maxReplicasKey = "deployment.kubernetes.io/max-replicas"

	// maxHistory bounds the length of the annotation with earlier revisions.
	maxHistory = 2000
)

// notCopied are the annotations that a ReplicaSet doesn't take over from its Deployment.
func notCopied(key string) bool {
	switch key {
	case v1.LastAppliedConfigAnnotation, revisionKey, historyKey, desiredKey, maxReplicasKey, appsv1.DeprecatedRollbackTo:
		return true
	}
	return false
}

// sameTemplate compares templates but for the label that names the ReplicaSet.
func sameTemplate(a, b *v1.PodTemplateSpec) bool {
	bare := func(t *v1.PodTemplateSpec) v1.PodTemplateSpec {
		c := *t
		c.Labels = maps.Clone(t.Labels)
		delete(c.Labels, appsv1.DefaultDeploymentUniqueLabelKey)
		return c
	}
	return apiequality.Semantic.DeepEqual(bare(a), bare(b))
}

func byAge(list []*appsv1.ReplicaSet) []*appsv1.ReplicaSet {
	out := slices.Clone(list)
	slices.SortFunc(out, func(a, b *appsv1.ReplicaSet) int {
		return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.Name, b.Name))
	})
	return out
}

// split finds the ReplicaSet of the present template (the oldest if there are several)
// and the others.
func split(d *appsv1.Deployment, sets []*appsv1.ReplicaSet) (current *appsv1.ReplicaSet, old []*appsv1.ReplicaSet) {
	for _, rs := range byAge(sets) {
		if current == nil && sameTemplate(&rs.Spec.Template, &d.Spec.Template) {
			current = rs
		} else {
			old = append(old, rs)
		}
	}
	return current, old
}

func revision(m metav1.Object) int64 {
	n, err := strconv.ParseInt(m.GetAnnotations()[revisionKey], 10, 64)
	if err != nil {
		return 0
	}
	return n
}

func maxRevision(sets []*appsv1.ReplicaSet) int64 {
	var n int64
	for _, rs := range sets {
		n = max(n, revision(rs))
	}
	return n
}

// annotate gives rs, which is the present ReplicaSet of d, the annotations of d and its
// revision. It reports whether anything changed.
func annotate(d *appsv1.Deployment, rs *appsv1.ReplicaSet, newRevision int64, exists bool) bool {
	before := rs.Annotations
	a := maps.Clone(before)
	if a == nil {
		a = map[string]string{}
	}
	for k, v := range d.Annotations {
		if !notCopied(k) {
			a[k] = v
		}
	}
	oldText, had := before[revisionKey]
	old, err := strconv.ParseInt(oldText, 10, 64)
	if (err == nil || !had) && old < newRevision {
		a[revisionKey] = strconv.FormatInt(newRevision, 10)
		if had {
			a[historyKey] = appendHistory(a[historyKey], oldText)
		}
	}
	if !exists {
		setReplicas(a, *d.Spec.Replicas, *d.Spec.Replicas+maxSurge(d))
	}
	if maps.Equal(before, a) {
		return false
	}
	rs.Annotations = a
	return true
}

// appendHistory notes an earlier revision and forgets the oldest where the list grows
// too long.
func appendHistory(history, revision string) string {
	if history == "" {
		return revision
	}
	list := append(strings.Split(history, ","), revision)
	for len(list) > 1 && len(strings.Join(list, ",")) > maxHistory {
		list = list[1:]
	}
	return strings.Join(list, ",")
}

// setReplicas notes on a ReplicaSet what its Deployment asked for when it was scaled, by
// which the next scaling finds its proportion. It reports whether anything changed.
func setReplicas(a map[string]string, desired, most int32) bool {
	d, m := strconv.Itoa(int(desired)), strconv.Itoa(int(most))
	if a[desiredKey] == d && a[maxReplicasKey] == m {
		return false
	}
	a[desiredKey], a[maxReplicasKey] = d, m
	return true
}

// newReplicaSet makes the ReplicaSet of the present template, without a size.
func newReplicaSet(d *appsv1.Deployment, old []*appsv1.ReplicaSet) *appsv1.ReplicaSet {
	template := d.Spec.Template.DeepCopy()
	hash := history.TemplateHash(template, d.Status.CollisionCount)
	template.Labels = maps.Clone(template.Labels)
	if template.Labels == nil {
		template.Labels = map[string]string{}
	}
	template.Labels[appsv1.DefaultDeploymentUniqueLabelKey] = hash
	rs := &appsv1.ReplicaSet{
		ObjectMeta: metav1.ObjectMeta{
			Name: d.Name + "-" + hash, Namespace: d.Namespace, Labels: template.Labels,
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(d, kind)},
		},
		Spec: appsv1.ReplicaSetSpec{
			Replicas: new(int32), MinReadySeconds: d.Spec.MinReadySeconds,
			Selector: metav1.CloneSelectorAndAddLabel(d.Spec.Selector, appsv1.DefaultDeploymentUniqueLabelKey, hash),
			Template: *template,
		},
	}
	annotate(d, rs, maxRevision(old)+1, false)
	return rs
}

// expired returns the ReplicaSets beyond the history limit.
func expired(d *appsv1.Deployment, old []*appsv1.ReplicaSet) []*appsv1.ReplicaSet {
	if d.Spec.RevisionHistoryLimit == nil {
		return nil
	}
	var alive []*appsv1.ReplicaSet
	for _, rs := range old {
		if rs.DeletionTimestamp == nil {
			alive = append(alive, rs)
		}
	}
	slices.SortStableFunc(alive, func(a, b *appsv1.ReplicaSet) int {
		return cmp.Or(cmp.Compare(revision(a), revision(b)), a.CreationTimestamp.Compare(b.CreationTimestamp.Time))
	})
	var out []*appsv1.ReplicaSet
	for i := 0; i < len(alive)-int(*d.Spec.RevisionHistoryLimit); i++ {
		rs := alive[i]
		if rs.Status.Replicas == 0 && *rs.Spec.Replicas == 0 && rs.Generation <= rs.Status.ObservedGeneration {
			out = append(out, rs)
		}
	}
	return out
}
