package garbage

import (
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// ownerState is what is known of an owner.
type ownerState int

const (
	solid   ownerState = iota // it is there
	absent                    // it is not there (any more)
	waiting                   // it waits for its dependents to be deleted
)

// verdict is what becomes of an object.
type verdict struct {
	// drop are owners whose references are to be taken off the object.
	drop []types.UID
	// remove says that the object is to be deleted in this way.
	remove bool
	policy metav1.DeletionPropagation
	// unblock says that the object's own references must not block its owners any more,
	// which breaks circles.
	unblock bool
}

// judge decides about a living object by the state of its owners. dependents are its own.
func judge(states map[types.UID]ownerState, finalizers []string, dependents []view) verdict {
	var off []types.UID
	anySolid, anyWaiting := false, false
	for uid, s := range states {
		switch s {
		case solid:
			anySolid = true
			continue
		case waiting:
			anyWaiting = true
		}
		off = append(off, uid)
	}
	switch {
	case anySolid:
		slices.Sort(off)
		return verdict{drop: off}
	case anyWaiting && len(dependents) > 0:
		v := verdict{remove: true, policy: metav1.DeletePropagationForeground}
		for i := range dependents {
			v.unblock = v.unblock || dependents[i].foreground
		}
		return v
	}
	return verdict{remove: true, policy: policyOf(finalizers)}
}

// policyOf keeps to what was asked for when an earlier deletion left its finalizer.
func policyOf(finalizers []string) metav1.DeletionPropagation {
	switch {
	case slices.Contains(finalizers, metav1.FinalizerOrphanDependents):
		return metav1.DeletePropagationOrphan
	case slices.Contains(finalizers, metav1.FinalizerDeleteDependents):
		return metav1.DeletePropagationForeground
	}
	return metav1.DeletePropagationBackground
}

// without returns the references but those to some owners.
func without(refs []metav1.OwnerReference, owners ...types.UID) []metav1.OwnerReference {
	out := []metav1.OwnerReference{}
	for _, r := range refs {
		if !slices.Contains(owners, r.UID) {
			out = append(out, r)
		}
	}
	return out
}

// unblocking returns the references with none of them blocking.
func unblocking(refs []metav1.OwnerReference) []metav1.OwnerReference {
	out := slices.Clone(refs)
	no := false
	for i := range out {
		out[i].BlockOwnerDeletion = &no
	}
	return out
}
