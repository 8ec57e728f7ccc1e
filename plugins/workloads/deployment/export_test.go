package deployment

import appsv1 "k8s.io/api/apps/v1"

// apply carries a list of decisions out on the sizes of ReplicaSets.
func apply(list []resize) {
	for _, r := range list {
		n := r.to
		r.set.Spec.Replicas = &n
	}
}

// Roll makes one step of a rolling update and reports whether anything was changed.
func Roll(d *appsv1.Deployment, current *appsv1.ReplicaSet, old []*appsv1.ReplicaSet) bool {
	if to := newSize(d, current, old); to != *current.Spec.Replicas {
		apply([]resize{{current, to}})
		return true
	}
	list := shrinkOld(d, current, old)
	apply(list)
	return len(list) > 0
}

// Scale carries a change of the Deployment's size over to its ReplicaSets.
func Scale(d *appsv1.Deployment, current *appsv1.ReplicaSet, old []*appsv1.ReplicaSet) {
	apply(scale(d, current, old))
}

// Bounds is how many pods a rollout may have too many and too few.
var Bounds = bounds
