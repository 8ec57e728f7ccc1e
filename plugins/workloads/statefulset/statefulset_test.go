package statefulset_test

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clienttesting "k8s.io/client-go/testing"

	"github.com/pintle-dev/pintle/plugins/workloads/control/controltest"
)

func TestPodsAreMadeInOrder(t *testing.T) {
	run(t, []runtime.Object{newSet(3)}, func(w world) {
		w.wantPods("web-0")
		w.phase("web-0", v1.PodRunning, v1.ConditionFalse)
		w.wantPods("web-0")
		w.ready("web-0")
		w.wantPods("web-0", "web-1")
		w.ready("web-1")
		w.wantPods("web-0", "web-1", "web-2")
		if s := w.set().Status; s.ReadyReplicas != 2 || s.Replicas != 3 || s.CurrentRevision != s.UpdateRevision || s.ObservedGeneration != 1 {
			w.Errorf("status: %+v", s)
		}
		w.ready("web-2")
		s := w.set().Status
		if s.ReadyReplicas != 3 || s.AvailableReplicas != 3 || s.CurrentReplicas != 3 || s.UpdatedReplicas != 3 {
			w.Errorf("status: %+v", s)
		}
		if !slices.Contains(w.Events(), "Normal SuccessfulCreate Create Pod web-2 in StatefulSet web successful") {
			w.Errorf("events: %v", w.Events())
		}
	})
}

func TestPodsHaveAnIdentity(t *testing.T) {
	set := newSet(1, withClaims, func(set *appsv1.StatefulSet) {
		set.Spec.Ordinals = &appsv1.StatefulSetOrdinals{Start: 5}
		set.Spec.Template.Spec.Volumes = []v1.Volume{{Name: "data"}, {Name: "scratch"}}
	})
	run(t, []runtime.Object{set}, func(w world) {
		w.wantPods("web-5")
		p := w.pod("web-5")
		want := map[string]string{
			"app": "a", "statefulset.kubernetes.io/pod-name": "web-5", "apps.kubernetes.io/pod-index": "5",
			"controller-revision-hash": w.set().Status.UpdateRevision,
		}
		if !maps.Equal(p.Labels, want) {
			w.Errorf("labels: %v, want %v", p.Labels, want)
		}
		if ref := metav1.GetControllerOf(p); p.Spec.Hostname != "web-5" || p.Spec.Subdomain != "headless" || ref == nil || ref.UID != "set-uid" {
			w.Errorf("pod: %+v", p)
		}
		if v := p.Spec.Volumes; len(v) != 2 || v[0].PersistentVolumeClaim.ClaimName != "data-web-5" || v[1].Name != "scratch" {
			w.Errorf("volumes: %+v", v)
		}
		if c := w.claim("data-web-5"); c.Labels["of"] != "template" || c.Labels["app"] != "a" || len(c.OwnerReferences) != 0 {
			w.Errorf("claim: %+v", c.ObjectMeta)
		}
		if !slices.Contains(w.Events(), "Normal SuccessfulCreate Create Claim data-web-5 Pod web-5 in StatefulSet web success") {
			w.Errorf("events: %v", w.Events())
		}
	})
}

func TestParallelDoesNotWait(t *testing.T) {
	run(t, []runtime.Object{newSet(5, parallel)}, func(w world) {
		w.wantPods("web-0", "web-1", "web-2", "web-3", "web-4")
		w.scale(2)
		w.wantPods("web-0", "web-1")
	})
}

func TestScalesDownFromTheTop(t *testing.T) {
	run(t, []runtime.Object{newSet(0)}, func(w world) {
		w.scale(4)
		w.ready("web-0")
		w.ready("web-1")
		w.ready("web-2")
		w.ready("web-3")
		w.phase("web-1", v1.PodRunning, v1.ConditionFalse)
		w.scale(1)
		// The highest may go; web-2 may not, for something below it is not well.
		w.wantPods("web-0")
		deleted := deletions(w)
		if !slices.Equal(deleted, []string{"web-3", "web-2", "web-1"}) {
			w.Errorf("deleted: %v", deleted)
		}
	})
}

// deletions returns the names of the pods deleted so far, in order.
func deletions(w world) []string {
	var out []string
	for _, event := range w.Events() {
		if name, ok := strings.CutPrefix(event, "Normal SuccessfulDelete Delete Pod "); ok {
			out = append(out, strings.Fields(name)[0])
		}
	}
	return out
}

func TestScaleDownWaitsForThoseBelow(t *testing.T) {
	run(t, []runtime.Object{newSet(4, parallel)}, func(w world) {
		w.ready("web-0")
		w.phase("web-1", v1.PodRunning, v1.ConditionFalse)
		w.phase("web-3", v1.PodRunning, v1.ConditionFalse)
		w.update(func(set *appsv1.StatefulSet) { set.Spec.PodManagementPolicy = appsv1.OrderedReadyPodManagement })
		w.scale(1)
		w.wantPods("web-0", "web-1", "web-2", "web-3")
		w.ready("web-3")
		// web-3 goes; web-2 has to wait.
		w.wantPods("web-0", "web-1", "web-2")
		w.ready("web-1")
		w.wantPods("web-0")
	})
}

func TestScaleDownDoesNotResurrect(t *testing.T) {
	run(t, []runtime.Object{newSet(1)}, func(w world) {
		w.ready("web-0")
		w.remove("web-0")
		w.wantPods("web-0")
		w.phase("web-0", v1.PodFailed, v1.ConditionFalse)
		w.wantPods("web-0")
		if p := w.pod("web-0"); p.Status.Phase == v1.PodFailed {
			w.Error("the failed pod was not replaced")
		}
		w.phase("web-0", v1.PodSucceeded, v1.ConditionFalse)
		if p := w.pod("web-0"); p.Status.Phase == v1.PodSucceeded {
			w.Error("the pod that ended was not replaced")
		}
	})
}

func TestRollingUpdate(t *testing.T) {
	run(t, []runtime.Object{newSet(3, parallel)}, func(w world) {
		w.ready("web-0", "web-1", "web-2")
		before := w.set().Status.CurrentRevision
		w.image("two")
		if got := w.images(); got["web-2"] != "two" || got["web-1"] != "one" || got["web-0"] != "one" {
			w.Fatalf("images: %v", got)
		}
		s := w.set().Status
		if s.CurrentRevision != before || s.UpdateRevision == before || s.UpdatedReplicas != 1 || s.CurrentReplicas != 2 {
			w.Errorf("status: %+v", s)
		}
		w.ready("web-2")
		if got := w.images(); got["web-1"] != "two" || got["web-0"] != "one" {
			w.Fatalf("images: %v", got)
		}
		w.ready("web-1")
		w.ready("web-0")
		s = w.set().Status
		if s.CurrentRevision != s.UpdateRevision || s.CurrentRevision == before || s.UpdatedReplicas != 3 || s.CurrentReplicas != 3 {
			w.Errorf("status: %+v", s)
		}
		w.image("one")
		list := w.Revisions()
		if s := w.set().Status; len(list) != 2 || list[1].Name != before || list[1].Revision != 3 || s.UpdateRevision != before {
			w.Errorf("after rolling back: %v, %+v", list, s)
		}
	})
}

func TestPartitionKeepsTheOldTemplate(t *testing.T) {
	run(t, []runtime.Object{newSet(3, parallel, partition(2))}, func(w world) {
		w.ready("web-0", "web-1", "web-2")
		w.image("two")
		w.ready("web-2")
		if got := w.images(); got["web-2"] != "two" || got["web-1"] != "one" || got["web-0"] != "one" {
			w.Fatalf("images: %v", got)
		}
		// What goes below the partition comes back as it was.
		w.remove("web-0")
		if got := w.images(); got["web-0"] != "one" {
			w.Fatalf("images: %v", got)
		}
		w.ready("web-0")
		w.update(partition(0))
		w.ready("web-1")
		w.ready("web-0")
		if s := w.set().Status; s.CurrentRevision != s.UpdateRevision || w.images()["web-0"] != "two" {
			w.Errorf("status: %+v, images %v", s, w.images())
		}
	})
}

func TestOnDeleteWaitsForTheUser(t *testing.T) {
	run(t, []runtime.Object{newSet(2, parallel, func(set *appsv1.StatefulSet) {
		set.Spec.UpdateStrategy = appsv1.StatefulSetUpdateStrategy{Type: appsv1.OnDeleteStatefulSetStrategyType}
	})}, func(w world) {
		w.ready("web-0", "web-1")
		w.image("two")
		if got := w.images(); got["web-0"] != "one" || got["web-1"] != "one" {
			w.Fatalf("images: %v", got)
		}
		w.remove("web-0")
		if got := w.images(); got["web-0"] != "two" || got["web-1"] != "one" {
			w.Fatalf("images: %v", got)
		}
	})
}

func TestUpdateGoesOnAroundABrokenPod(t *testing.T) {
	run(t, []runtime.Object{newSet(2, parallel)}, func(w world) {
		w.phase("web-0", v1.PodRunning, v1.ConditionFalse)
		w.phase("web-1", v1.PodRunning, v1.ConditionFalse)
		w.image("two")
		if got := w.images(); got["web-1"] != "two" || got["web-0"] != "one" {
			w.Fatalf("images: %v", got)
		}
		w.ready("web-1")
		if got := w.images(); got["web-0"] != "two" {
			w.Fatalf("images: %v", got)
		}
	})
}

func TestHistoryHasALimit(t *testing.T) {
	run(t, []runtime.Object{newSet(1, func(set *appsv1.StatefulSet) { *set.Spec.RevisionHistoryLimit = 1 })}, func(w world) {
		w.ready("web-0")
		for _, image := range []string{"two", "three", "four"} {
			w.image(image)
			w.ready("web-0")
		}
		list := w.Revisions()
		if len(list) != 2 || list[0].Revision != 3 || list[1].Revision != 4 {
			w.Errorf("revisions: %v", list)
		}
	})
}

func TestAvailableAfterMinReadySeconds(t *testing.T) {
	run(t, []runtime.Object{newSet(2, func(set *appsv1.StatefulSet) { set.Spec.MinReadySeconds = 30 })}, func(w world) {
		w.ready("web-0")
		w.wantPods("web-0")
		if s := w.set().Status; s.ReadyReplicas != 1 || s.AvailableReplicas != 0 {
			w.Errorf("status: %+v", s)
		}
		w.Pass(30 * time.Second)
		w.SettleLate()
		w.wantPods("web-0", "web-1")
		if s := w.set().Status; s.AvailableReplicas != 1 {
			w.Errorf("status: %+v", s)
		}
	})
}

func TestAdoptsReleasesAndRepairs(t *testing.T) {
	foreign := bare("other-1")
	run(t, []runtime.Object{newSet(1), bare("web-0"), foreign, bare("web-00")}, func(w world) {
		if ref := metav1.GetControllerOf(w.pod("web-0")); ref == nil || ref.UID != "set-uid" {
			w.Errorf("web-0 was not adopted")
		}
		for _, name := range []string{"other-1", "web-00"} {
			if metav1.GetControllerOf(w.pod(name)) != nil {
				w.Errorf("%s was adopted", name)
			}
		}
		w.ready("web-0")
		if p := w.pod("web-0"); p.Labels[appsv1.StatefulSetPodNameLabel] != "web-0" || p.Labels[appsv1.PodIndexLabel] != "0" {
			// It has no revision, so it is made again by the present one.
			w.Errorf("labels: %v", p.Labels)
		}
		p := w.pod("web-0")
		delete(p.Labels, appsv1.StatefulSetPodNameLabel)
		controltest.Update(w, w.Client.CoreV1().Pods("default"), p)
		w.SettleLate()
		w.ready("web-0")
		if p := w.pod("web-0"); p.Labels[appsv1.StatefulSetPodNameLabel] != "web-0" {
			w.Errorf("labels: %v", p.Labels)
		}
		p = w.pod("web-0")
		p.Labels["app"] = "b"
		controltest.Update(w, w.Client.CoreV1().Pods("default"), p)
		w.SettleLate()
		if metav1.GetControllerOf(w.pod("web-0")) != nil {
			w.Error("web-0 was not released")
		}
		w.remove("web-0")
		if ref := metav1.GetControllerOf(w.pod("web-0")); ref == nil {
			w.Error("web-0 was not made when its name was free")
		}
	})
}

func TestNothingIsMadeForASetThatGoes(t *testing.T) {
	set := newSet(2, func(set *appsv1.StatefulSet) {
		set.DeletionTimestamp, set.Finalizers = &metav1.Time{Time: time.Unix(1, 0)}, []string{"foregroundDeletion"}
	})
	run(t, []runtime.Object{set}, func(w world) { w.wantPods() })
}

func TestCreationThatFailsIsTriedAgain(t *testing.T) {
	run(t, nil, func(w world) {
		failures := 0
		w.Client.PrependReactor("create", "pods", func(clienttesting.Action) (bool, runtime.Object, error) {
			failures++
			return failures <= 3, nil, errors.New("exceeded quota")
		})
		controltest.Create(w, w.Client.AppsV1().StatefulSets("default"), newSet(9, parallel))
		w.SettleLate()
		if got := len(w.Pods()); got != 9 {
			w.Errorf("%d pods", got)
		}
		if !slices.Contains(w.Events(), "Warning FailedCreate Create Pod web-0 in StatefulSet web failed error: exceeded quota") {
			w.Errorf("events: %v", w.Events())
		}
	})
}
