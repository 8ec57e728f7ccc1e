package statefulset_test

import (
	"slices"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"github.com/pintle-dev/pintle/plugins/workloads/control/controltest"
	"github.com/pintle-dev/pintle/plugins/workloads/statefulset"
)

var appLabels = map[string]string{"app": "a"}

// newSet returns a set as the API server would have completed it.
func newSet(replicas int32, change ...func(*appsv1.StatefulSet)) *appsv1.StatefulSet {
	limit, none := int32(10), int32(0)
	set := &appsv1.StatefulSet{
		ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "default", UID: "set-uid", Generation: 1},
		Spec: appsv1.StatefulSetSpec{
			Replicas: &replicas, ServiceName: "headless", RevisionHistoryLimit: &limit,
			Selector:            &metav1.LabelSelector{MatchLabels: appLabels},
			PodManagementPolicy: appsv1.OrderedReadyPodManagement,
			UpdateStrategy: appsv1.StatefulSetUpdateStrategy{
				Type: appsv1.RollingUpdateStatefulSetStrategyType, RollingUpdate: &appsv1.RollingUpdateStatefulSetStrategy{Partition: &none},
			},
			Template: v1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: appLabels},
				Spec:       v1.PodSpec{Containers: []v1.Container{{Name: "c", Image: "one"}}},
			},
		},
	}
	for _, c := range change {
		c(set)
	}
	return set
}

func parallel(set *appsv1.StatefulSet) { set.Spec.PodManagementPolicy = appsv1.ParallelPodManagement }

func withClaims(set *appsv1.StatefulSet) {
	set.Spec.VolumeClaimTemplates = []v1.PersistentVolumeClaim{{ObjectMeta: metav1.ObjectMeta{Name: "data", Labels: map[string]string{"of": "template"}}}}
}

func partition(n int32) func(*appsv1.StatefulSet) {
	return func(set *appsv1.StatefulSet) { set.Spec.UpdateStrategy.RollingUpdate.Partition = &n }
}

func retention(deleted, scaled appsv1.PersistentVolumeClaimRetentionPolicyType) func(*appsv1.StatefulSet) {
	return func(set *appsv1.StatefulSet) {
		withClaims(set)
		set.Spec.PersistentVolumeClaimRetentionPolicy = &appsv1.StatefulSetPersistentVolumeClaimRetentionPolicy{WhenDeleted: deleted, WhenScaled: scaled}
	}
}

func bare(name string) *v1.Pod {
	return &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default", UID: types.UID("uid-" + name), Labels: map[string]string{"app": "a"}}}
}

// world is a running controller with its API.
type world struct{ *controltest.Env }

func run(t *testing.T, objects []runtime.Object, body func(w world)) {
	t.Helper()
	controltest.Run(t, objects, controltest.One(statefulset.New), func(e *controltest.Env) {
		e.SettleLate() // for what is watched only when needed
		body(world{e})
	})
}

func (w world) set() *appsv1.StatefulSet {
	w.Helper()
	return controltest.Get(w, w.Client.AppsV1().StatefulSets("default"), "web")
}

func (w world) update(change func(*appsv1.StatefulSet)) {
	w.Helper()
	controltest.Change(w, w.Client.AppsV1().StatefulSets("default"), "web", change)
	w.SettleLate()
}

func (w world) image(image string) {
	w.Helper()
	w.update(func(set *appsv1.StatefulSet) { set.Spec.Template.Spec.Containers[0].Image = image })
}

func (w world) scale(n int32) {
	w.Helper()
	w.update(func(set *appsv1.StatefulSet) { set.Spec.Replicas = &n })
}

func (w world) wantPods(names ...string) {
	w.Helper()
	if got := w.PodNames(); !slices.Equal(got, names) {
		w.Fatalf("pods: %v, want %v", got, names)
	}
}

func (w world) pod(name string) *v1.Pod {
	w.Helper()
	return controltest.Get(w, w.Client.CoreV1().Pods("default"), name)
}

func (w world) phase(name string, phase v1.PodPhase, ready v1.ConditionStatus) {
	w.Helper()
	p := w.pod(name)
	setPhase(p, phase, ready)
	controltest.UpdateStatus(w, w.Client.CoreV1().Pods("default"), p)
	w.SettleLate()
}

func setPhase(p *v1.Pod, phase v1.PodPhase, ready v1.ConditionStatus) {
	p.Status.Phase = phase
	p.Status.Conditions = []v1.PodCondition{{Type: v1.PodReady, Status: ready, LastTransitionTime: metav1.Now()}}
}

func (w world) ready(names ...string) {
	w.Helper()
	for _, name := range names {
		w.phase(name, v1.PodRunning, v1.ConditionTrue)
	}
}

func (w world) remove(name string) {
	w.Helper()
	controltest.Delete(w, w.Client.CoreV1().Pods("default"), name)
	w.SettleLate()
}

// images returns the image of each pod.
func (w world) images() map[string]string {
	out := map[string]string{}
	for _, p := range w.Pods() {
		out[p.Name] = p.Spec.Containers[0].Image
	}
	return out
}

func (w world) claim(name string) *v1.PersistentVolumeClaim {
	w.Helper()
	return controltest.Get(w, w.Client.CoreV1().PersistentVolumeClaims("default"), name)
}

// owners returns the kinds of the owners of a claim.
func (w world) owners(claim string) []string {
	w.Helper()
	var out []string
	for _, ref := range w.claim(claim).OwnerReferences {
		out = append(out, ref.Kind)
	}
	return out
}
