package deployment_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"pgregory.net/rapid"

	"github.com/pintle-dev/pintle/plugins/workloads/control/controltest"
	"github.com/pintle-dev/pintle/plugins/workloads/deployment"
)

var build = controltest.One(deployment.New)

var appLabels = map[string]string{"app": "a"}

func rolling(replicas int32, surge, unavailable string) *appsv1.Deployment {
	s, u, deadline, history := intstr.Parse(surge), intstr.Parse(unavailable), int32(600), int32(1)
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: "d", Namespace: "default", UID: "d-uid", Generation: 1, Annotations: map[string]string{
			"kubernetes.io/change-cause": "first", v1.LastAppliedConfigAnnotation: "{}",
		}},
		Spec: appsv1.DeploymentSpec{
			Replicas: &replicas, Selector: &metav1.LabelSelector{MatchLabels: appLabels},
			Template: v1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: appLabels},
				Spec:       v1.PodSpec{Containers: []v1.Container{{Name: "c", Image: "one"}}},
			},
			Strategy: appsv1.DeploymentStrategy{Type: appsv1.RollingUpdateDeploymentStrategyType,
				RollingUpdate: &appsv1.RollingUpdateDeployment{MaxSurge: &s, MaxUnavailable: &u}},
			ProgressDeadlineSeconds: &deadline, RevisionHistoryLimit: &history,
		},
	}
}

func sets(e *controltest.Env) map[string]*appsv1.ReplicaSet {
	list := controltest.List(e, e.Client.AppsV1().ReplicaSets("default"))
	out := map[string]*appsv1.ReplicaSet{}
	for i := range list.Items {
		out[list.Items[i].Spec.Template.Spec.Containers[0].Image] = &list.Items[i]
	}
	return out
}

func get(e *controltest.Env) *appsv1.Deployment {
	return controltest.Get(e, e.Client.AppsV1().Deployments("default"), "d")
}

func change(e *controltest.Env, f func(d *appsv1.Deployment)) {
	controltest.Change(e, e.Client.AppsV1().Deployments("default"), "d", f)
	e.Pass(time.Second) // creation times have seconds
}

// fulfil plays the ReplicaSet controller and the nodes: all pods that are wanted become
// available, until nothing changes any more.
func fulfil(e *controltest.Env) {
	for range 50 {
		changed := false
		for _, rs := range sets(e) {
			want := *rs.Spec.Replicas
			if rs.Status.AvailableReplicas == want && rs.Status.Replicas == want {
				continue
			}
			changed = true
			rs.Status = appsv1.ReplicaSetStatus{Replicas: want, ReadyReplicas: want, AvailableReplicas: want, ObservedGeneration: rs.Generation}
			controltest.UpdateStatus(e, e.Client.AppsV1().ReplicaSets("default"), rs)
		}
		e.Settle()
		if !changed {
			return
		}
	}
	e.Fatal("the rollout does not come to an end")
}

func reason(d *appsv1.Deployment, t appsv1.DeploymentConditionType) string {
	for _, c := range d.Status.Conditions {
		if c.Type == t {
			return fmt.Sprint(c.Status, " ", c.Reason)
		}
	}
	return ""
}

func TestRolloutAndUndo(t *testing.T) {
	controltest.Run(t, []runtime.Object{rolling(3, "1", "0")}, build, func(e *controltest.Env) {
		one := sets(e)["one"]
		if one == nil || *one.Spec.Replicas != 3 {
			e.Fatalf("no ReplicaSet of 3: %+v", one)
		}
		hash := one.Labels[appsv1.DefaultDeploymentUniqueLabelKey]
		if hash == "" || one.Name != "d-"+hash || one.Spec.Selector.MatchLabels[appsv1.DefaultDeploymentUniqueLabelKey] != hash ||
			one.Spec.Template.Labels[appsv1.DefaultDeploymentUniqueLabelKey] != hash {
			e.Errorf("hash %q of %s", hash, one.Name)
		}
		if one.Annotations["kubernetes.io/change-cause"] != "first" || one.Annotations[v1.LastAppliedConfigAnnotation] != "" {
			e.Errorf("annotations: %v", one.Annotations)
		}
		if r := reason(get(e), appsv1.DeploymentAvailable); r != "False MinimumReplicasUnavailable" {
			e.Errorf("before pods are there: Available is %s", r)
		}
		fulfil(e)
		d := get(e)
		if d.Annotations["deployment.kubernetes.io/revision"] != "1" || reason(d, appsv1.DeploymentAvailable) != "True MinimumReplicasAvailable" ||
			reason(d, appsv1.DeploymentProgressing) != "True NewReplicaSetAvailable" || d.Status.UpdatedReplicas != 3 {
			e.Errorf("after the first rollout: %v %+v", d.Annotations, d.Status)
		}

		change(e, func(d *appsv1.Deployment) { d.Spec.Template.Spec.Containers[0].Image = "two" })
		fulfil(e)
		if all := sets(e); *all["one"].Spec.Replicas != 0 || *all["two"].Spec.Replicas != 3 {
			e.Errorf("after the second rollout: %d, %d", *all["one"].Spec.Replicas, *all["two"].Spec.Replicas)
		}
		if r := get(e).Annotations["deployment.kubernetes.io/revision"]; r != "2" {
			e.Errorf("revision %s", r)
		}
		change(e, func(d *appsv1.Deployment) { d.Spec.Template.Spec.Containers[0].Image = "one" })
		fulfil(e)
		one = sets(e)["one"]
		if *one.Spec.Replicas != 3 || one.Annotations["deployment.kubernetes.io/revision"] != "3" || one.Annotations["deployment.kubernetes.io/revision-history"] != "1" {
			e.Errorf("after undo: %d, %v", *one.Spec.Replicas, one.Annotations)
		}
		change(e, func(d *appsv1.Deployment) { d.Spec.Template.Spec.Containers[0].Image = "three" })
		fulfil(e)
		change(e, func(d *appsv1.Deployment) { d.Annotations["x"] = "y" })
		if all := sets(e); len(all) != 2 || all["two"] != nil {
			e.Errorf("history limit 1, but there are %d", len(all))
		}
		want := []string{"Normal ScalingReplicaSet Scaled up replica set d-" + hash + " from 0 to 3", "Normal ScalingReplicaSet Scaled down replica set d-" + hash + " from 3 to 2"}
		for _, w := range want {
			if !slices.Contains(e.Events(), w) {
				e.Errorf("no event %q in %s", w, strings.Join(e.Events(), "\n"))
			}
		}
	})
}

func TestPauseAndDeadline(t *testing.T) {
	controltest.Run(t, []runtime.Object{rolling(2, "1", "0")}, build, func(e *controltest.Env) {
		fulfil(e)
		change(e, func(d *appsv1.Deployment) { d.Spec.Paused = true })
		change(e, func(d *appsv1.Deployment) { d.Spec.Template.Spec.Containers[0].Image = "two" })
		if sets(e)["two"] != nil {
			e.Error("a paused Deployment rolls out")
		}
		change(e, func(d *appsv1.Deployment) { *d.Spec.Replicas = 4 })
		if n := *sets(e)["one"].Spec.Replicas; n != 4 {
			e.Errorf("a paused Deployment is scaled to %d", n)
		}
		if r := reason(get(e), appsv1.DeploymentProgressing); r != "Unknown DeploymentPaused" {
			e.Errorf("paused: Progressing is %s", r)
		}
		change(e, func(d *appsv1.Deployment) { d.Spec.Paused = false })
		if sets(e)["two"] == nil {
			e.Error("a resumed Deployment doesn't roll out")
		}
		e.Pass(11 * time.Minute)
		if r := reason(get(e), appsv1.DeploymentProgressing); r != "False ProgressDeadlineExceeded" {
			e.Errorf("after the deadline: Progressing is %s", r)
		}
		fulfil(e)
		if r := reason(get(e), appsv1.DeploymentProgressing); r != "True NewReplicaSetAvailable" {
			e.Errorf("in the end: Progressing is %s", r)
		}
	})
}

func TestRecreateWaitsForOldPods(t *testing.T) {
	d := rolling(2, "1", "0")
	d.Spec.Strategy = appsv1.DeploymentStrategy{Type: appsv1.RecreateDeploymentStrategyType}
	controltest.Run(t, []runtime.Object{d}, build, func(e *controltest.Env) {
		fulfil(e)
		one := sets(e)["one"]
		p := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "default", Labels: appLabels,
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(one, appsv1.SchemeGroupVersion.WithKind("ReplicaSet"))}}}
		controltest.Create(e, e.Client.CoreV1().Pods("default"), p)
		e.Settle()
		change(e, func(d *appsv1.Deployment) { d.Spec.Template.Spec.Containers[0].Image = "two" })
		fulfil(e)
		if all := sets(e); *all["one"].Spec.Replicas != 0 || all["two"] != nil {
			e.Error("the new one is there before the old pods are gone")
		}
		controltest.Delete(e, e.Client.CoreV1().Pods("default"), "p")
		e.Settle()
		if two := sets(e)["two"]; two == nil || *two.Spec.Replicas != 2 {
			e.Errorf("the new one: %+v", two)
		}
	})
}

func TestCollisionOfNames(t *testing.T) {
	controltest.Run(t, nil, build, func(e *controltest.Env) {
		d := rolling(1, "1", "0")
		// Find out the name, take it, and see that another one is found.
		controltest.Create(e, e.Client.AppsV1().Deployments("default"), d)
		e.Settle()
		taken := sets(e)["one"]
		controltest.Delete(e, e.Client.AppsV1().Deployments("default"), "d")
		taken.OwnerReferences = []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "Deployment", Name: "other", UID: "other", Controller: new(bool)}}
		*taken.OwnerReferences[0].Controller = true
		controltest.Update(e, e.Client.AppsV1().ReplicaSets("default"), taken)
		e.Settle()
		controltest.Create(e, e.Client.AppsV1().Deployments("default"), rolling(1, "1", "0"))
		e.Pass(time.Second) // for the second try
		list := controltest.List(e, e.Client.AppsV1().ReplicaSets("default"))
		if c := get(e).Status.CollisionCount; len(list.Items) != 2 || c == nil || *c != 1 {
			e.Errorf("%d ReplicaSets, %v collisions", len(list.Items), c)
		}
	})
}

func set(name string, age int, replicas, available int32) *appsv1.ReplicaSet {
	return &appsv1.ReplicaSet{
		ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID(name), CreationTimestamp: metav1.NewTime(time.Unix(int64(1000-age), 0))},
		Spec:       appsv1.ReplicaSetSpec{Replicas: &replicas},
		Status:     appsv1.ReplicaSetStatus{Replicas: replicas, AvailableReplicas: available},
	}
}

// TestRollingKeepsItsPromise plays rollouts in which pods become available and fail at
// random: there are never more pods than maxSurge allows, the controller never takes away
// a pod that maxUnavailable needs, and when pods stop failing the rollout ends.
func TestRollingKeepsItsPromise(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		n := int32(rapid.IntRange(1, 12).Draw(rt, "replicas"))
		percent := rapid.SampledFrom([]string{"0", "1", "2", "25%", "50%", "100%"})
		d := rolling(n, percent.Draw(rt, "surge"), percent.Draw(rt, "unavailable"))
		surge, unavailable := deployment.Bounds(d)
		old := []*appsv1.ReplicaSet{set("old", 100, n, n), set("older", 200, 0, 0)}
		current := set("new", 0, 0, 0)
		all := append([]*appsv1.ReplicaSet{current}, old...)
		total := func(f func(*appsv1.ReplicaSet) int32) (sum int32) {
			for _, rs := range all {
				sum += f(rs)
			}
			return sum
		}
		wanted := func(rs *appsv1.ReplicaSet) int32 { return *rs.Spec.Replicas }
		usable := func(rs *appsv1.ReplicaSet) int32 { return min(rs.Status.AvailableReplicas, *rs.Spec.Replicas) }
		for step := range 300 {
			before := total(usable)
			moved := deployment.Roll(d, current, old)
			if got := total(wanted); got > n+surge {
				rt.Fatalf("%d pods, at most %d allowed", got, n+surge)
			}
			if after := total(usable); after < before && after < n-unavailable {
				rt.Fatalf("%d of %d available pods are left, at least %d needed", after, before, n-unavailable)
			}
			calm := step > 40
			for _, rs := range all {
				rs.Status.Replicas = *rs.Spec.Replicas
				if calm {
					rs.Status.AvailableReplicas = *rs.Spec.Replicas
				} else {
					rs.Status.AvailableReplicas = int32(rapid.IntRange(0, int(*rs.Spec.Replicas)).Draw(rt, "available"))
				}
			}
			if calm && !moved && *current.Spec.Replicas == n && total(wanted) == n {
				return
			}
		}
		rt.Fatalf("the rollout does not end: new %d, old %d", *current.Spec.Replicas, *old[0].Spec.Replicas)
	})
}

// TestProportionalScaling checks that scaling in the middle of a rollout keeps to the
// total and to the order of sizes.
func TestProportionalScaling(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		size := rapid.IntRange(1, 20)
		was := int32(size.Draw(rt, "was"))
		d := rolling(int32(size.Draw(rt, "is")), "25%", "25%")
		before := rolling(was, "25%", "25%")
		surge, _ := deployment.Bounds(before)
		a := int32(rapid.IntRange(1, int(was+surge)).Draw(rt, "new"))
		b := was + surge - a
		current, old := set("new", 0, a, 0), set("old", 100, b, b)
		for _, rs := range []*appsv1.ReplicaSet{current, old} {
			rs.Annotations = map[string]string{
				"deployment.kubernetes.io/desired-replicas": fmt.Sprint(was),
				"deployment.kubernetes.io/max-replicas":     fmt.Sprint(was + surge),
			}
		}
		deployment.Scale(d, current, []*appsv1.ReplicaSet{old})
		surge, _ = deployment.Bounds(d)
		want := *d.Spec.Replicas + surge
		if b == 0 {
			want = *d.Spec.Replicas
		}
		if got := *current.Spec.Replicas + *old.Spec.Replicas; got != want {
			rt.Fatalf("%d+%d became %d+%d, want %d in all", a, b, *current.Spec.Replicas, *old.Spec.Replicas, want)
		}
	})
}
