package daemonset_test

import (
	"maps"
	"slices"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/pintle-dev/pintle/plugins/workloads/control/controltest"
	"github.com/pintle-dev/pintle/plugins/workloads/daemonset"
)

var appLabels = map[string]string{"app": "a"}

// newSet returns a set as the API server would have completed it.
func newSet(change ...func(*appsv1.DaemonSet)) *appsv1.DaemonSet {
	limit, one, none := int32(10), intstr.FromInt32(1), intstr.FromInt32(0)
	ds := &appsv1.DaemonSet{
		ObjectMeta: metav1.ObjectMeta{
			Name: "agent", Namespace: "default", UID: "ds-uid", Generation: 1,
			Annotations: map[string]string{appsv1.DeprecatedTemplateGeneration: "1"},
		},
		Spec: appsv1.DaemonSetSpec{
			Selector: &metav1.LabelSelector{MatchLabels: appLabels}, RevisionHistoryLimit: &limit,
			UpdateStrategy: appsv1.DaemonSetUpdateStrategy{
				Type: appsv1.RollingUpdateDaemonSetStrategyType, RollingUpdate: &appsv1.RollingUpdateDaemonSet{MaxUnavailable: &one, MaxSurge: &none},
			},
			Template: v1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: appLabels},
				Spec:       v1.PodSpec{Containers: []v1.Container{{Name: "c", Image: "one"}}},
			},
		},
	}
	for _, c := range change {
		c(ds)
	}
	return ds
}

func rolling(unavailable, surge int32) func(*appsv1.DaemonSet) {
	return func(ds *appsv1.DaemonSet) {
		u, s := intstr.FromInt32(unavailable), intstr.FromInt32(surge)
		ds.Spec.UpdateStrategy.RollingUpdate = &appsv1.RollingUpdateDaemonSet{MaxUnavailable: &u, MaxSurge: &s}
	}
}

func node(name string, change ...func(*v1.Node)) *v1.Node {
	n := &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, UID: "node-uid"}}
	for _, c := range change {
		c(n)
	}
	return n
}

func taint(key string, effect v1.TaintEffect) func(*v1.Node) {
	return func(n *v1.Node) { n.Spec.Taints = append(n.Spec.Taints, v1.Taint{Key: key, Effect: effect}) }
}

// world is a running controller with its API.
type world struct{ *controltest.Env }

func run(t *testing.T, objects []runtime.Object, body func(w world)) {
	t.Helper()
	controltest.Run(t, objects, controltest.One(daemonset.New), func(e *controltest.Env) {
		e.SettleLate() // for what is watched only when needed
		body(world{e})
	})
}

func (w world) set() *appsv1.DaemonSet {
	w.Helper()
	return controltest.Get(w, w.Client.AppsV1().DaemonSets("default"), "agent")
}

func (w world) update(change func(*appsv1.DaemonSet)) {
	w.Helper()
	controltest.Change(w, w.Client.AppsV1().DaemonSets("default"), "agent", change)
	w.SettleLate()
}

func (w world) image(image string) {
	w.Helper()
	w.update(func(ds *appsv1.DaemonSet) {
		ds.Spec.Template.Spec.Containers[0].Image = image
		ds.Annotations[appsv1.DeprecatedTemplateGeneration] += "1"
	})
}

// target returns the node that a pod is pinned to.
func target(p *v1.Pod) string {
	terms := p.Spec.Affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms
	if len(terms) != 1 || len(terms[0].MatchFields) != 1 || len(terms[0].MatchExpressions) != 0 {
		return "?"
	}
	return terms[0].MatchFields[0].Values[0]
}

// images returns the images of the pods of each node.
func (w world) images() map[string][]string {
	w.Helper()
	out := map[string][]string{}
	for _, p := range w.Pods() {
		out[target(&p)] = append(out[target(&p)], p.Spec.Containers[0].Image)
	}
	for _, list := range out {
		slices.Sort(list)
	}
	return out
}

func (w world) wantImages(want map[string][]string) {
	w.Helper()
	if got := w.images(); !maps.EqualFunc(got, want, slices.Equal) {
		w.Fatalf("pods: %v, want %v", got, want)
	}
}

// bind binds and starts all pods of an image that are not bound yet.
func (w world) start(image string, ready v1.ConditionStatus) {
	w.Helper()
	for _, p := range w.Pods() {
		if p.Spec.NodeName != "" && ready == v1.ConditionTrue && p.Status.Conditions[0].Status == ready {
			continue
		}
		if p.Spec.Containers[0].Image != image {
			continue
		}
		p.Spec.NodeName = target(&p)
		p.Status.Phase = v1.PodRunning
		p.Status.Conditions = []v1.PodCondition{{Type: v1.PodReady, Status: ready, LastTransitionTime: metav1.Now()}}
		controltest.Update(w, w.Client.CoreV1().Pods("default"), &p)
	}
	w.SettleLate()
}

func (w world) changeNode(n *v1.Node) {
	w.Helper()
	controltest.Update(w, w.Client.CoreV1().Nodes(), n)
	w.SettleLate()
}
