package statefulset_test

import (
	"slices"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/pintle-dev/pintle/plugins/workloads/control/controltest"
)

const (
	retain  = appsv1.RetainPersistentVolumeClaimRetentionPolicyType
	deleted = appsv1.DeletePersistentVolumeClaimRetentionPolicyType
)

func TestClaimsAreOwnedAsThePolicySays(t *testing.T) {
	tests := []struct {
		name                    string
		whenDeleted, whenScaled appsv1.PersistentVolumeClaimRetentionPolicyType
		kept, scaledAway        []string // owners of the claims of web-0 and web-1
	}{
		{"both stay", retain, retain, nil, nil},
		{"go with the set", deleted, retain, []string{"StatefulSet"}, []string{"StatefulSet"}},
		{"go with the pod", retain, deleted, nil, []string{"Pod"}},
		{"go with either", deleted, deleted, []string{"StatefulSet"}, []string{"Pod"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			run(t, []runtime.Object{newSet(2, parallel, retention(tt.whenDeleted, tt.whenScaled))}, func(w world) {
				w.ready("web-0", "web-1")
				for _, claim := range []string{"data-web-0", "data-web-1"} {
					if got := w.owners(claim); !slices.Equal(got, tt.kept) {
						w.Errorf("owners of %s: %v, want %v", claim, got, tt.kept)
					}
				}
				w.scale(1)
				if got := w.owners("data-web-1"); !slices.Equal(got, tt.scaledAway) {
					w.Errorf("owners of the claim of a pod scaled away: %v, want %v", got, tt.scaledAway)
				}
				w.wantPods("web-0")
				// Another policy is taken over for what is there.
				w.update(retention(retain, retain))
				if got := w.owners("data-web-0"); len(got) != 0 {
					w.Errorf("owners after the policy became Retain: %v", got)
				}
				w.update(retention(deleted, retain))
				if got := w.owners("data-web-0"); !slices.Equal(got, []string{"StatefulSet"}) {
					w.Errorf("owners after the policy became Delete: %v", got)
				}
			})
		})
	}
}

func TestAPodWaitsForTheClaimOfItsPredecessorToGo(t *testing.T) {
	run(t, []runtime.Object{newSet(1, parallel, retention(retain, deleted))}, func(w world) {
		w.ready("web-0")
		w.scale(0)
		if got := w.owners("data-web-0"); !slices.Equal(got, []string{"Pod"}) {
			w.Fatalf("owners: %v", got)
		}
		w.scale(1)
		w.wantPods()
		// The garbage collector has seen that the pod is gone.
		controltest.Delete(w, w.Client.CoreV1().PersistentVolumeClaims("default"), "data-web-0")
		w.SettleLate()
		w.wantPods("web-0")
		if got := w.owners("data-web-0"); len(got) != 0 {
			w.Errorf("owners of the new claim: %v", got)
		}
	})
}

// controlled is a claim that something else than a set of the test controls.
func controlled(by metav1.OwnerReference) *v1.PersistentVolumeClaim {
	controls := true
	by.Controller = &controls
	return &v1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{
		Name: "data-web-0", Namespace: "default", OwnerReferences: []metav1.OwnerReference{by},
	}}
}

func TestAClaimWithAnotherControllerIsLeftAlone(t *testing.T) {
	claim := controlled(metav1.OwnerReference{APIVersion: "v1", Kind: "Other", Name: "o", UID: "o"})
	run(t, []runtime.Object{newSet(1, retention(deleted, deleted)), claim}, func(w world) {
		w.ready("web-0")
		if got := w.owners("data-web-0"); !slices.Equal(got, []string{"Other"}) {
			w.Errorf("owners: %v", got)
		}
	})
}

func TestAClaimOfAnEarlierSetGoesWithIt(t *testing.T) {
	claim := controlled(metav1.OwnerReference{APIVersion: "apps/v1", Kind: "StatefulSet", Name: "web", UID: "earlier"})
	run(t, []runtime.Object{newSet(1, retention(retain, retain)), claim}, func(w world) {
		w.ready("web-0")
		if refs := w.claim("data-web-0").OwnerReferences; len(refs) != 1 || refs[0].UID != "earlier" {
			w.Errorf("owners: %v", refs)
		}
	})
}

func TestMissingClaimsOfAPendingPodAreMadeAgain(t *testing.T) {
	run(t, []runtime.Object{newSet(1, withClaims)}, func(w world) {
		w.phase("web-0", v1.PodPending, v1.ConditionFalse)
		uid := w.claim("data-web-0").UID
		controltest.Delete(w, w.Client.CoreV1().PersistentVolumeClaims("default"), "data-web-0")
		w.SettleLate()
		if w.claim("data-web-0").UID == uid {
			w.Error("the claim was not made again")
		}
	})
}

func TestMaxUnavailable(t *testing.T) {
	tests := []struct {
		name   string
		most   intstr.IntOrString
		broken string // a pod that is not ready when the update begins
		rolled []string
	}{
		{"two at a time", intstr.FromInt32(2), "", []string{"web-3", "web-4"}},
		{"rounded down", intstr.FromString("50%"), "", []string{"web-3", "web-4"}},
		{"at least one", intstr.FromString("1%"), "", []string{"web-4"}},
		{"less what is unavailable", intstr.FromInt32(2), "web-0", []string{"web-4"}},
		{"nothing while too many are", intstr.FromInt32(1), "web-0", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			run(t, []runtime.Object{newSet(5, parallel, func(set *appsv1.StatefulSet) {
				set.Spec.UpdateStrategy.RollingUpdate.MaxUnavailable = &tt.most
			})}, func(w world) {
				w.ready("web-0", "web-1", "web-2", "web-3", "web-4")
				if tt.broken != "" {
					w.phase(tt.broken, v1.PodRunning, v1.ConditionFalse)
				}
				w.image("two")
				var rolled []string
				for _, name := range w.PodNames() {
					if w.images()[name] == "two" {
						rolled = append(rolled, name)
					}
				}
				if !slices.Equal(rolled, tt.rolled) {
					w.Errorf("new: %v, want %v", rolled, tt.rolled)
				}
			})
		})
	}
}

func TestMaxUnavailableDoesNotWaitForThoseAbove(t *testing.T) {
	run(t, []runtime.Object{newSet(5, parallel, func(set *appsv1.StatefulSet) {
		two := intstr.FromInt32(2)
		set.Spec.UpdateStrategy.RollingUpdate.MaxUnavailable = &two
	})}, func(w world) {
		w.ready("web-0", "web-1", "web-2", "web-3", "web-4")
		w.image("two")
		w.ready("web-3")
		if got := w.images(); got["web-2"] != "two" || got["web-1"] != "one" {
			w.Errorf("images: %v", got)
		}
	})
}
