package replicaset_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clienttesting "k8s.io/client-go/testing"

	"github.com/pintle-dev/pintle/plugins/workloads/control/controltest"
	"github.com/pintle-dev/pintle/plugins/workloads/replicaset"
)

var build = controltest.One(replicaset.New)

var appLabels = map[string]string{"app": "a"}

func set(replicas int32) *appsv1.ReplicaSet {
	return &appsv1.ReplicaSet{
		ObjectMeta: metav1.ObjectMeta{Name: "rs", Namespace: "default", UID: "rs-uid", Generation: 1},
		Spec: appsv1.ReplicaSetSpec{
			Replicas: &replicas, Selector: &metav1.LabelSelector{MatchLabels: appLabels},
			Template: v1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: appLabels}},
		},
	}
}

func bare(name string, labels map[string]string) *v1.Pod {
	return &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default", UID: types.UID("uid-" + name), Labels: labels}}
}

func owned(name string, rs *appsv1.ReplicaSet, change ...func(*v1.Pod)) *v1.Pod {
	p := bare(name, appLabels)
	p.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(rs, appsv1.SchemeGroupVersion.WithKind("ReplicaSet"))}
	for _, c := range change {
		c(p)
	}
	return p
}

func status(e *controltest.Env) appsv1.ReplicaSetStatus {
	return controltest.Get(e, e.Client.AppsV1().ReplicaSets("default"), "rs").Status
}

func TestMakesPods(t *testing.T) {
	controltest.Run(t, []runtime.Object{set(5)}, build, func(e *controltest.Env) {
		list := e.Pods()
		if len(list) != 5 {
			e.Fatalf("%d pods", len(list))
		}
		p := list[0]
		if ref := metav1.GetControllerOf(&p); ref == nil || ref.UID != "rs-uid" || !*ref.BlockOwnerDeletion || p.Labels["app"] != "a" || !strings.HasPrefix(p.Name, "rs-") {
			e.Errorf("pod: %+v", p.ObjectMeta)
		}
		if s := status(e); s.Replicas != 5 || s.FullyLabeledReplicas != 5 || s.ReadyReplicas != 0 || s.ObservedGeneration != 1 {
			e.Errorf("status: %+v", s)
		}
		created := 0
		for _, event := range e.Events() {
			if strings.HasPrefix(event, "Normal SuccessfulCreate Created pod: rs-") {
				created++
			}
		}
		if created != 5 {
			e.Errorf("events: %v", e.Events())
		}
		controltest.Delete(e, e.Client.CoreV1().Pods("default"), p.Name)
		e.Settle()
		if n := len(e.Pods()); n != 5 {
			e.Errorf("%d pods after one was deleted", n)
		}
	})
}

func TestScalesDownAndCountsReady(t *testing.T) {
	rs := set(3)
	ready := func(p *v1.Pod) {
		p.Spec.NodeName, p.Status.Phase = "n", v1.PodRunning
		p.Status.Conditions = []v1.PodCondition{{Type: v1.PodReady, Status: v1.ConditionTrue, LastTransitionTime: metav1.NewTime(time.Unix(1, 0))}}
	}
	objects := []runtime.Object{rs, owned("a", rs, ready), owned("b", rs), owned("c", rs, ready)}
	controltest.Run(t, objects, build, func(e *controltest.Env) {
		if s := status(e); s.ReadyReplicas != 2 || s.AvailableReplicas != 2 || s.Replicas != 3 {
			e.Errorf("status: %+v", s)
		}
		smaller := controltest.Get(e, e.Client.AppsV1().ReplicaSets("default"), "rs")
		*smaller.Spec.Replicas = 2
		controltest.Update(e, e.Client.AppsV1().ReplicaSets("default"), smaller)
		e.Settle()
		for _, p := range e.Pods() {
			if p.Name == "b" {
				e.Error("the pod without a node was kept")
			}
		}
		if n := len(e.Pods()); n != 2 {
			e.Errorf("%d pods", n)
		}
	})
}

func TestAdoptsAndReleases(t *testing.T) {
	rs := set(2)
	orphan, stranger := bare("orphan", appLabels), bare("stranger", map[string]string{"app": "b"})
	lost := owned("lost", rs)
	lost.Labels = map[string]string{"app": "changed"}
	controltest.Run(t, []runtime.Object{rs, orphan, stranger, lost}, build, func(e *controltest.Env) {
		mine := map[string]bool{}
		for _, p := range e.Pods() {
			if ref := metav1.GetControllerOf(&p); ref != nil && ref.UID == rs.UID {
				mine[p.Name] = true
			}
		}
		if !mine["orphan"] || mine["stranger"] || mine["lost"] || len(mine) != 2 {
			e.Errorf("controlled: %v", mine)
		}
	})
}

func TestFailedCreation(t *testing.T) {
	controltest.Run(t, nil, build, func(e *controltest.Env) {
		attempts := 0
		e.Client.PrependReactor("create", "pods", func(clienttesting.Action) (bool, runtime.Object, error) {
			attempts++
			return true, nil, errors.New("exceeded quota")
		})
		controltest.Create(e, e.Client.AppsV1().ReplicaSets("default"), set(100))
		e.Settle()
		if attempts > 3 {
			e.Errorf("%d attempts at once; a few that fail should be enough", attempts)
		}
		s := status(e)
		if len(s.Conditions) != 1 || s.Conditions[0].Type != appsv1.ReplicaSetReplicaFailure || s.Conditions[0].Reason != "FailedCreate" {
			e.Errorf("conditions: %+v", s.Conditions)
		}
		if events := e.Events(); len(events) == 0 || events[0] != "Warning FailedCreate Error creating: exceeded quota" {
			e.Errorf("events: %v", events)
		}
	})
}

func TestAvailableAfterMinReadySeconds(t *testing.T) {
	rs := set(1)
	rs.Spec.MinReadySeconds = 30
	controltest.Run(t, []runtime.Object{rs}, build, func(e *controltest.Env) {
		p := e.Pods()[0]
		p.Status = v1.PodStatus{Phase: v1.PodRunning, Conditions: []v1.PodCondition{{Type: v1.PodReady, Status: v1.ConditionTrue, LastTransitionTime: metav1.Now()}}}
		controltest.UpdateStatus(e, e.Client.CoreV1().Pods("default"), &p)
		e.Settle()
		if s := status(e); s.ReadyReplicas != 1 || s.AvailableReplicas != 0 {
			e.Errorf("at once: %+v", s)
		}
		e.Pass(31 * time.Second)
		if s := status(e); s.AvailableReplicas != 1 {
			e.Errorf("after 31 s: %+v", s)
		}
	})
}
