package daemonset_test

import (
	"errors"
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

func TestOnePodOnEachNode(t *testing.T) {
	run(t, []runtime.Object{newSet(), node("a"), node("b")}, func(w world) {
		w.wantImages(map[string][]string{"a": {"one"}, "b": {"one"}})
		p := w.Pods()[0]
		revision := w.Revisions()[0]
		hash := revision.Labels["controller-revision-hash"]
		if p.Labels["controller-revision-hash"] != hash || revision.Name != "agent-"+hash || p.Labels["pod-template-generation"] != "1" {
			w.Errorf("labels %v, revision %s %v", p.Labels, revision.Name, revision.Labels)
		}
		for _, key := range []string{"not-ready", "unreachable", "disk-pressure", "memory-pressure", "pid-pressure", "unschedulable"} {
			if !slices.ContainsFunc(p.Spec.Tolerations, func(t v1.Toleration) bool { return t.Key == "node.kubernetes.io/"+key }) {
				w.Errorf("does not tolerate %s", key)
			}
		}
		w.start("one", v1.ConditionTrue)
		s := w.set().Status
		if s.DesiredNumberScheduled != 2 || s.CurrentNumberScheduled != 2 || s.NumberReady != 2 || s.NumberAvailable != 2 ||
			s.UpdatedNumberScheduled != 2 || s.NumberUnavailable != 0 || s.NumberMisscheduled != 0 || s.ObservedGeneration != 1 {
			w.Errorf("status: %+v", s)
		}
		controltest.Create(w, w.Client.CoreV1().Nodes(), node("c"))
		w.SettleLate()
		if len(w.images()["c"]) != 1 {
			w.Error("the new node got no pod")
		}
		// Pods that were never bound don't outlive the node they were made for.
		controltest.Delete(w, w.Client.CoreV1().Nodes(), "c")
		w.SettleLate()
		w.wantImages(map[string][]string{"a": {"one"}, "b": {"one"}})
	})
}

func TestWhichNodes(t *testing.T) {
	affinity := func(operator v1.NodeSelectorOperator, values ...string) func(*appsv1.DaemonSet) {
		return func(ds *appsv1.DaemonSet) {
			ds.Spec.Template.Spec.Affinity = &v1.Affinity{NodeAffinity: &v1.NodeAffinity{
				RequiredDuringSchedulingIgnoredDuringExecution: &v1.NodeSelector{NodeSelectorTerms: []v1.NodeSelectorTerm{{
					MatchExpressions: []v1.NodeSelectorRequirement{{Key: "disk", Operator: operator, Values: values}},
				}}},
			}}
		}
	}
	selector := func(ds *appsv1.DaemonSet) { ds.Spec.Template.Spec.NodeSelector = map[string]string{"disk": "ssd"} }
	none := func(*appsv1.DaemonSet) {}
	ssd := func(n *v1.Node) { n.Labels = map[string]string{"disk": "ssd"} }
	tests := []struct {
		name string
		set  func(*appsv1.DaemonSet)
		node func(*v1.Node)
		runs bool
		// stays says whether a pod that runs there stays.
		stays bool
	}{
		{"any", none, func(*v1.Node) {}, true, true},
		{"selected", selector, ssd, true, true},
		{"not selected", selector, func(*v1.Node) {}, false, false},
		{"affine", affinity(v1.NodeSelectorOpIn, "ssd"), ssd, true, true},
		{"not affine", affinity(v1.NodeSelectorOpNotIn, "ssd"), ssd, false, false},
		{"by name", func(ds *appsv1.DaemonSet) { ds.Spec.Template.Spec.NodeName = "n" }, ssd, true, true},
		{"by another name", func(ds *appsv1.DaemonSet) { ds.Spec.Template.Spec.NodeName = "m" }, ssd, false, false},
		{"NoSchedule", none, taint("k", v1.TaintEffectNoSchedule), false, true},
		{"NoExecute", none, taint("k", v1.TaintEffectNoExecute), false, false},
		{"PreferNoSchedule", none, taint("k", v1.TaintEffectPreferNoSchedule), true, true},
		{"tolerated", func(ds *appsv1.DaemonSet) {
			ds.Spec.Template.Spec.Tolerations = []v1.Toleration{{Operator: v1.TolerationOpExists}}
		}, taint("k", v1.TaintEffectNoExecute), true, true},
		{"cordoned", none, func(n *v1.Node) {
			n.Spec.Unschedulable = true
			taint(v1.TaintNodeUnschedulable, v1.TaintEffectNoSchedule)(n)
		}, true, true},
		{"unreachable", none, taint(v1.TaintNodeUnreachable, v1.TaintEffectNoExecute), true, true},
		{"without network", none, taint(v1.TaintNodeNetworkUnavailable, v1.TaintEffectNoSchedule), false, true},
		{"without network, needing none", func(ds *appsv1.DaemonSet) { ds.Spec.Template.Spec.HostNetwork = true }, taint(v1.TaintNodeNetworkUnavailable, v1.TaintEffectNoSchedule), true, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n := node("n", tt.node)
			run(t, []runtime.Object{newSet(tt.set), n}, func(w world) {
				if got := len(w.Pods()) == 1; got != tt.runs {
					w.Errorf("%d pods", len(w.Pods()))
				}
			})
			ds := newSet(tt.set)
			there := &v1.Pod{
				ObjectMeta: metav1.ObjectMeta{Name: "there", Namespace: "default", UID: "p", Labels: appLabels,
					OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(ds, appsv1.SchemeGroupVersion.WithKind("DaemonSet"))}},
				Spec:   v1.PodSpec{NodeName: "n", Containers: []v1.Container{{Image: "one"}}},
				Status: v1.PodStatus{Phase: v1.PodRunning},
			}
			ds.Spec.UpdateStrategy = appsv1.DaemonSetUpdateStrategy{Type: appsv1.OnDeleteDaemonSetStrategyType}
			run(t, []runtime.Object{ds, n.DeepCopy(), there}, func(w world) {
				if got := len(w.Pods()) == 1; got != tt.stays {
					w.Errorf("%d pods of one that was there", len(w.Pods()))
				}
				s := w.set().Status
				if wrong := s.NumberMisscheduled == 1; wrong != (tt.stays && !tt.runs) {
					w.Errorf("status: %+v", s)
				}
			})
		})
	}
}

func TestNodesThatChange(t *testing.T) {
	run(t, []runtime.Object{newSet(func(ds *appsv1.DaemonSet) {
		ds.Spec.Template.Spec.NodeSelector = map[string]string{"color": "blue"}
	}), node("n")}, func(w world) {
		w.wantImages(map[string][]string{})
		blue := node("n", func(n *v1.Node) { n.Labels = map[string]string{"color": "blue"} })
		w.changeNode(blue)
		w.wantImages(map[string][]string{"n": {"one"}})
		w.start("one", v1.ConditionTrue)
		tainted := blue.DeepCopy()
		taint("k", v1.TaintEffectNoSchedule)(tainted)
		w.changeNode(tainted)
		w.wantImages(map[string][]string{"n": {"one"}})
		if s := w.set().Status; s.NumberMisscheduled != 1 || s.DesiredNumberScheduled != 0 {
			w.Errorf("status: %+v", s)
		}
		w.changeNode(node("n", func(n *v1.Node) { n.Labels = map[string]string{"color": "green"} }))
		w.wantImages(map[string][]string{})
	})
}

func TestRollingUpdateByReplacing(t *testing.T) {
	run(t, []runtime.Object{newSet(), node("a"), node("b"), node("c")}, func(w world) {
		w.start("one", v1.ConditionTrue)
		w.image("two")
		w.wantImages(map[string][]string{"a": {"two"}, "b": {"one"}, "c": {"one"}})
		w.start("two", v1.ConditionTrue)
		w.wantImages(map[string][]string{"a": {"two"}, "b": {"two"}, "c": {"one"}})
		if s := w.set().Status; s.UpdatedNumberScheduled != 2 {
			w.Errorf("status: %+v", s)
		}
		w.start("two", v1.ConditionTrue)
		w.start("two", v1.ConditionTrue)
		w.wantImages(map[string][]string{"a": {"two"}, "b": {"two"}, "c": {"two"}})
		if s := w.set().Status; s.UpdatedNumberScheduled != 3 || s.NumberAvailable != 3 {
			w.Errorf("status: %+v", s)
		}
	})
}

func TestRollingUpdateReplacesBrokenPodsFirst(t *testing.T) {
	run(t, []runtime.Object{newSet(), node("a"), node("b"), node("c")}, func(w world) {
		w.start("one", v1.ConditionFalse)
		w.image("two")
		// All that did not work are replaced at once: nothing is lost by it.
		w.wantImages(map[string][]string{"a": {"two"}, "b": {"two"}, "c": {"two"}})
	})
}

func TestRollbackKeepsPodsThatHaveTheTemplate(t *testing.T) {
	run(t, []runtime.Object{newSet(), node("a"), node("b")}, func(w world) {
		w.start("one", v1.ConditionTrue)
		kept := w.Pods()
		w.image("broken")
		w.wantImages(map[string][]string{"a": {"broken"}, "b": {"one"}})
		w.image("one")
		w.wantImages(map[string][]string{"a": {"one"}, "b": {"one"}})
		survived := false
		for _, p := range w.Pods() {
			survived = survived || slices.ContainsFunc(kept, func(q v1.Pod) bool { return q.UID == p.UID })
		}
		if !survived {
			w.Error("the pod that had the template already was restarted")
		}
		list := w.Revisions()
		if len(list) != 2 || list[0].Revision != 2 || list[1].Revision != 3 {
			w.Errorf("revisions: %v", list)
		}
	})
}

func TestRollingUpdateBySurge(t *testing.T) {
	run(t, []runtime.Object{newSet(rolling(0, 1)), node("a"), node("b")}, func(w world) {
		w.start("one", v1.ConditionTrue)
		w.image("two")
		w.wantImages(map[string][]string{"a": {"one", "two"}, "b": {"one"}})
		w.start("two", v1.ConditionTrue)
		w.wantImages(map[string][]string{"a": {"two"}, "b": {"one", "two"}})
		w.start("two", v1.ConditionTrue)
		w.wantImages(map[string][]string{"a": {"two"}, "b": {"two"}})
	})
}

func TestSurgeWaitsForMinReadySeconds(t *testing.T) {
	slow := func(ds *appsv1.DaemonSet) { ds.Spec.MinReadySeconds = 30 }
	run(t, []runtime.Object{newSet(rolling(0, 1), slow), node("a")}, func(w world) {
		w.start("one", v1.ConditionTrue)
		time.Sleep(time.Minute) // virtual
		w.image("two")
		w.start("two", v1.ConditionTrue)
		w.wantImages(map[string][]string{"a": {"one", "two"}})
		w.Pass(31 * time.Second)
		w.SettleLate()
		w.wantImages(map[string][]string{"a": {"two"}})
	})
}

func TestSurgeReplacesBrokenPods(t *testing.T) {
	run(t, []runtime.Object{newSet(rolling(0, 1)), node("a"), node("b")}, func(w world) {
		w.start("one", v1.ConditionFalse)
		w.image("two")
		w.wantImages(map[string][]string{"a": {"two"}, "b": {"two"}})
	})
}

func TestSurgeKeepsMisplacedPodsUntilOthersWork(t *testing.T) {
	run(t, []runtime.Object{newSet(rolling(0, 1)), node("a")}, func(w world) {
		w.start("one", v1.ConditionTrue)
		controltest.Create(w, w.Client.CoreV1().Nodes(), node("b"))
		tainted := node("a")
		taint("k", v1.TaintEffectNoSchedule)(tainted)
		w.changeNode(tainted)
		w.image("two")
		w.wantImages(map[string][]string{"a": {"one"}, "b": {"two"}})
		w.start("two", v1.ConditionTrue)
		w.wantImages(map[string][]string{"b": {"two"}})
	})
}

func TestOnDelete(t *testing.T) {
	run(t, []runtime.Object{newSet(func(ds *appsv1.DaemonSet) {
		ds.Spec.UpdateStrategy = appsv1.DaemonSetUpdateStrategy{Type: appsv1.OnDeleteDaemonSetStrategyType}
	}), node("a")}, func(w world) {
		w.start("one", v1.ConditionTrue)
		w.image("two")
		w.wantImages(map[string][]string{"a": {"one"}})
		controltest.Delete(w, w.Client.CoreV1().Pods("default"), w.Pods()[0].Name)
		w.SettleLate()
		w.wantImages(map[string][]string{"a": {"two"}})
	})
}

func TestFailedPodsAreReplacedEverMoreSlowly(t *testing.T) {
	run(t, []runtime.Object{newSet(), node("a")}, func(w world) {
		fail := func() string {
			p := w.Pods()[0]
			p.Spec.NodeName, p.Status.Phase = "a", v1.PodFailed
			controltest.Update(w, w.Client.CoreV1().Pods("default"), &p)
			w.Settle()
			return p.Name
		}
		first := fail()
		if w.Pods()[0].Name == first {
			w.Error("the first was not replaced at once")
		}
		second := fail()
		if w.Pods()[0].Name != second {
			w.Error("the second was replaced at once")
		}
		w.Pass(2 * time.Second)
		if w.Pods()[0].Name == second {
			w.Error("the second was not replaced after 2 s")
		}
		if !slices.ContainsFunc(w.Events(), func(e string) bool {
			return strings.HasPrefix(e, "Warning FailedDaemonPod Found failed daemon pod default/"+first+" on node a")
		}) {
			w.Errorf("events: %v", w.Events())
		}
	})
}

func TestAdoptsAndPrunes(t *testing.T) {
	at := func(name, node string, age time.Duration) *v1.Pod {
		return &v1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default", UID: "uid-" + "x", Labels: appLabels, CreationTimestamp: metav1.NewTime(time.Unix(10_000, 0).Add(-age))},
			Spec:       v1.PodSpec{NodeName: node, Containers: []v1.Container{{Image: "one"}}},
			Status:     v1.PodStatus{Phase: v1.PodRunning},
		}
	}
	young, old := at("young", "a", time.Minute), at("old", "a", time.Hour)
	young.UID = "uid-young"
	ds := newSet(func(ds *appsv1.DaemonSet) {
		ds.Spec.UpdateStrategy = appsv1.DaemonSetUpdateStrategy{Type: appsv1.OnDeleteDaemonSetStrategyType}
	})
	run(t, []runtime.Object{ds, node("a"), young, old}, func(w world) {
		list := w.Pods()
		if len(list) != 1 || list[0].Name != "old" || metav1.GetControllerOf(&list[0]) == nil {
			w.Errorf("pods: %v", list)
		}
	})
}

func TestHistoryHasALimit(t *testing.T) {
	run(t, []runtime.Object{newSet(func(ds *appsv1.DaemonSet) { *ds.Spec.RevisionHistoryLimit = 1 }), node("a")}, func(w world) {
		w.start("one", v1.ConditionTrue)
		for _, image := range []string{"two", "three"} {
			w.image(image)
			w.start(image, v1.ConditionTrue)
		}
		list := w.Revisions()
		if len(list) != 2 || list[0].Revision != 2 || list[1].Revision != 3 {
			w.Errorf("revisions: %v", list)
		}
	})
}

func TestHistoryKeepsWhatPodsHave(t *testing.T) {
	run(t, []runtime.Object{newSet(func(ds *appsv1.DaemonSet) {
		*ds.Spec.RevisionHistoryLimit = 1
		ds.Spec.UpdateStrategy = appsv1.DaemonSetUpdateStrategy{Type: appsv1.OnDeleteDaemonSetStrategyType}
	}), node("a")}, func(w world) {
		w.image("two")
		w.image("three")
		// The pod has the first; it counts as the one that is kept.
		list := w.Revisions()
		if len(list) != 2 || list[0].Revision != 1 || list[1].Revision != 3 {
			w.Errorf("revisions: %v", list)
		}
	})
}

func TestAvailableAfterMinReadySeconds(t *testing.T) {
	run(t, []runtime.Object{newSet(func(ds *appsv1.DaemonSet) { ds.Spec.MinReadySeconds = 30 }), node("a")}, func(w world) {
		w.start("one", v1.ConditionTrue)
		if s := w.set().Status; s.NumberReady != 1 || s.NumberAvailable != 0 || s.NumberUnavailable != 1 {
			w.Errorf("status: %+v", s)
		}
		w.Pass(30 * time.Second)
		w.SettleLate()
		if s := w.set().Status; s.NumberAvailable != 1 {
			w.Errorf("status: %+v", s)
		}
	})
}

func TestCreationThatFailsIsTriedAFewTimesAtOnce(t *testing.T) {
	objects := []runtime.Object{}
	for _, name := range strings.Split("abcdefghijklmnopqrst", "") {
		objects = append(objects, node(name))
	}
	run(t, objects, func(w world) {
		attempts := 0
		w.Client.PrependReactor("create", "pods", func(clienttesting.Action) (bool, runtime.Object, error) {
			attempts++
			return true, nil, errors.New("exceeded quota")
		})
		controltest.Create(w, w.Client.AppsV1().DaemonSets("default"), newSet())
		w.Pass(200 * time.Millisecond)
		if attempts == 0 || attempts > 10 {
			w.Errorf("%d attempts", attempts)
		}
		if s := w.set().Status; s.DesiredNumberScheduled != 20 || s.NumberUnavailable != 20 {
			w.Errorf("status: %+v", s)
		}
	})
}
