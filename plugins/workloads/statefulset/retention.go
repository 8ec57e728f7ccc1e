package statefulset

import (
	appsv1 "k8s.io/api/apps/v1"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

var podKind = v1.SchemeGroupVersion.WithKind("Pod")

// retention returns what becomes of claims; by default they stay.
func retention(set *appsv1.StatefulSet) (whenDeleted, whenScaled appsv1.PersistentVolumeClaimRetentionPolicyType) {
	p := set.Spec.PersistentVolumeClaimRetentionPolicy
	if p == nil {
		return appsv1.RetainPersistentVolumeClaimRetentionPolicyType, appsv1.RetainPersistentVolumeClaimRetentionPolicyType
	}
	return p.WhenDeleted, p.WhenScaled
}

// claimOwners says who owns the claims of a pod, so that the garbage collector deletes
// them as the set's policy says: with the set, or with a pod that is scaled away.
func claimOwners(set *appsv1.StatefulSet, ordinal int) (ownedBySet, ownedByPod bool) {
	const deleted = appsv1.DeletePersistentVolumeClaimRetentionPolicyType
	whenDeleted, whenScaled := retention(set)
	ownedByPod = whenScaled == deleted && !inRange(set, ordinal)
	return whenDeleted == deleted && !ownedByPod, ownedByPod
}

func refersTo(ref *metav1.OwnerReference, kind schema.GroupVersionKind, name string) bool {
	return ref.Kind == kind.Kind && ref.APIVersion == kind.GroupVersion().String() && ref.Name == name
}

// verdict is what is to be done about the owners of a claim.
type verdict struct {
	// refs are the owners that the claim should have; they differ from what it has where
	// change is set.
	refs   []metav1.OwnerReference
	change bool
	// conflict says that another controller owns the claim, so that the policy of the set
	// can't be followed.
	conflict bool
}

// judge compares the owners of a claim with what the set's policy asks for.
func judge(set *appsv1.StatefulSet, pod *v1.Pod, ordinal int, have []metav1.OwnerReference) verdict {
	const retain = appsv1.RetainPersistentVolumeClaimRetentionPolicyType
	whenDeleted, whenScaled := retention(set)
	var v verdict
	var bySet, byPod, loose, foreign bool
	for i := range have {
		ref := &have[i]
		ours, uid := false, set.UID
		switch {
		case refersTo(ref, kind, set.Name):
			ours, bySet = true, true
		case refersTo(ref, podKind, pod.Name):
			ours, byPod, uid = true, true, pod.UID
		}
		controls := ref.Controller != nil && *ref.Controller
		switch {
		case ours && ref.UID != uid:
			// It belongs to an earlier set or pod of that name, with which it will go.
			return verdict{}
		case ours:
			loose = loose || !controls
		default:
			foreign = foreign || controls
			v.refs = append(v.refs, *ref)
		}
	}
	if foreign && (whenDeleted != retain || whenScaled != retain) {
		v.conflict, v.change = true, bySet || byPod
		return v
	}
	wantSet, wantPod := claimOwners(set, ordinal)
	if wantSet {
		v.refs = append(v.refs, *metav1.NewControllerRef(set, kind))
	}
	if wantPod {
		v.refs = append(v.refs, *metav1.NewControllerRef(pod, podKind))
	}
	v.change = loose || bySet != wantSet || byPod != wantPod
	return v
}

// stale reports whether a claim belongs to an earlier pod of the name and will go with it:
// a new pod must wait for that and get a new claim.
func stale(set *appsv1.StatefulSet, claim *v1.PersistentVolumeClaim, pod string) bool {
	if _, whenScaled := retention(set); whenScaled == appsv1.RetainPersistentVolumeClaimRetentionPolicyType {
		return false
	}
	for i := range claim.OwnerReferences {
		if refersTo(&claim.OwnerReferences[i], podKind, pod) {
			return true
		}
	}
	return false
}
