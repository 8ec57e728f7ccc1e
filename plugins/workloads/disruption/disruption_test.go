package disruption_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	v1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"

	"github.com/pintle-dev/pintle/plugins/workloads/control/controltest"
	"github.com/pintle-dev/pintle/plugins/workloads/disruption"
)

var build = controltest.One(disruption.New)

var appLabels = map[string]string{"app": "a"}

func budget(change func(*policyv1.PodDisruptionBudget)) *policyv1.PodDisruptionBudget {
	pdb := &policyv1.PodDisruptionBudget{
		ObjectMeta: metav1.ObjectMeta{Name: "pdb", Namespace: "default", UID: "pdb", Generation: 1},
		Spec:       policyv1.PodDisruptionBudgetSpec{Selector: &metav1.LabelSelector{MatchLabels: appLabels}},
	}
	change(pdb)
	return pdb
}

func minAvailable(v string) func(*policyv1.PodDisruptionBudget) {
	n := intstr.Parse(v)
	return func(pdb *policyv1.PodDisruptionBudget) { pdb.Spec.MinAvailable = &n }
}

func maxUnavailable(v string) func(*policyv1.PodDisruptionBudget) {
	n := intstr.Parse(v)
	return func(pdb *policyv1.PodDisruptionBudget) { pdb.Spec.MaxUnavailable = &n }
}

func pod(name string, ready bool, owner ...metav1.OwnerReference) *v1.Pod {
	p := &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default", UID: types.UID(name), Labels: appLabels, OwnerReferences: owner},
		Status:     v1.PodStatus{Phase: v1.PodRunning},
	}
	if ready {
		p.Status.Conditions = []v1.PodCondition{{Type: v1.PodReady, Status: v1.ConditionTrue}}
	}
	return p
}

func ref(apiVersion, kind, name string) metav1.OwnerReference {
	yes := true
	return metav1.OwnerReference{APIVersion: apiVersion, Kind: kind, Name: name, UID: types.UID(name), Controller: &yes}
}

func scaled(n int32) *int32 { return &n }

// fleet is a Deployment of 10 with two ReplicaSets, a StatefulSet of 3, a
// ReplicationController of 2 and a ReplicaSet of 4 on its own.
func fleet() []runtime.Object {
	m := func(name string, owner ...metav1.OwnerReference) metav1.ObjectMeta {
		return metav1.ObjectMeta{Name: name, Namespace: "default", UID: types.UID(name), OwnerReferences: owner}
	}
	up := ref("apps/v1", "Deployment", "d")
	return []runtime.Object{
		&appsv1.Deployment{ObjectMeta: m("d"), Spec: appsv1.DeploymentSpec{Replicas: scaled(10)}},
		&appsv1.ReplicaSet{ObjectMeta: m("d-old", up), Spec: appsv1.ReplicaSetSpec{Replicas: scaled(7)}},
		&appsv1.ReplicaSet{ObjectMeta: m("d-new", up), Spec: appsv1.ReplicaSetSpec{Replicas: scaled(5)}},
		&appsv1.ReplicaSet{ObjectMeta: m("rs"), Spec: appsv1.ReplicaSetSpec{Replicas: scaled(4)}},
		&appsv1.StatefulSet{ObjectMeta: m("ss"), Spec: appsv1.StatefulSetSpec{Replicas: scaled(3)}},
		&v1.ReplicationController{ObjectMeta: m("rc"), Spec: v1.ReplicationControllerSpec{Replicas: scaled(2)}},
	}
}

func status(e *controltest.Env) policyv1.PodDisruptionBudgetStatus {
	return controltest.Get(e, e.Client.PolicyV1().PodDisruptionBudgets("default"), "pdb").Status
}

func TestStatus(t *testing.T) {
	old, young := ref("apps/v1", "ReplicaSet", "d-old"), ref("apps/v1", "ReplicaSet", "d-new")
	tests := []struct {
		name                                string
		budget                              *policyv1.PodDisruptionBudget
		pods                                []*v1.Pod
		healthy, desired, expected, allowed int32
		reason                              string
	}{
		{"no pods", budget(minAvailable("0")), nil, 0, 0, 0, 0, policyv1.InsufficientPodsReason},
		{"enough", budget(minAvailable("1")), []*v1.Pod{pod("a", true), pod("b", true)}, 2, 1, 2, 1, policyv1.SufficientPodsReason},
		{"one not ready", budget(minAvailable("1")), []*v1.Pod{pod("a", true), pod("b", false)}, 1, 1, 2, 0, policyv1.InsufficientPodsReason},
		{"share of a Deployment's number", budget(minAvailable("25%")), []*v1.Pod{pod("a", true, old), pod("b", true, young), pod("c", true, young), pod("d", true, young)}, 4, 3, 10, 1, policyv1.SufficientPodsReason},
		{"at most so many of a Deployment", budget(maxUnavailable("8")), []*v1.Pod{pod("a", true, old), pod("b", true, young), pod("c", true, young)}, 3, 2, 10, 1, policyv1.SufficientPodsReason},
		{"a ReplicaSet, a StatefulSet and a ReplicationController", budget(maxUnavailable("100%")), []*v1.Pod{
			pod("a", true, ref("apps/v1", "ReplicaSet", "rs")), pod("b", true, ref("apps/v1", "StatefulSet", "ss")), pod("c", true, ref("v1", "ReplicationController", "rc")),
		}, 3, 0, 9, 3, policyv1.SufficientPodsReason},
		{"unmanaged pods do not count", budget(maxUnavailable("1")), []*v1.Pod{pod("a", true)}, 1, 0, 0, 0, policyv1.InsufficientPodsReason},
		{"an owner that is gone", budget(maxUnavailable("1")), []*v1.Pod{pod("a", true, ref("apps/v1", "ReplicaSet", "gone"))}, 0, 0, 0, 0, policyv1.SyncFailedReason},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			objects := append(fleet(), tt.budget)
			for _, p := range tt.pods {
				objects = append(objects, p)
			}
			controltest.Run(t, objects, build, func(e *controltest.Env) {
				s := status(e)
				if s.CurrentHealthy != tt.healthy || s.DesiredHealthy != tt.desired || s.ExpectedPods != tt.expected || s.DisruptionsAllowed != tt.allowed {
					e.Errorf("status: %+v", s)
				}
				c := meta.FindStatusCondition(s.Conditions, policyv1.DisruptionAllowedCondition)
				if c == nil || c.Reason != tt.reason || (c.Status == metav1.ConditionTrue) != (tt.allowed > 0) {
					e.Errorf("condition: %+v", c)
				}
				if tt.reason != policyv1.SyncFailedReason && s.ObservedGeneration != 1 {
					e.Errorf("observed generation: %d", s.ObservedGeneration)
				}
			})
		})
	}
}

func TestFollowsItsPods(t *testing.T) {
	controltest.Run(t, []runtime.Object{budget(minAvailable("1")), pod("a", true)}, build, func(e *controltest.Env) {
		if s := status(e); s.DisruptionsAllowed != 0 {
			e.Errorf("with one pod: %+v", s)
		}
		controltest.Create(e, e.Client.CoreV1().Pods("default"), pod("b", true))
		e.Settle()
		if s := status(e); s.DisruptionsAllowed != 1 {
			e.Errorf("with two: %+v", s)
		}
		controltest.UpdateStatus(e, e.Client.CoreV1().Pods("default"), pod("a", false))
		e.Settle()
		if s := status(e); s.DisruptionsAllowed != 0 || s.CurrentHealthy != 1 {
			e.Errorf("when one is not ready: %+v", s)
		}
		controltest.Delete(e, e.Client.CoreV1().Pods("default"), "a")
		e.Settle()
		if s := status(e); s.ExpectedPods != 1 {
			e.Errorf("when one is gone: %+v", s)
		}
	})
}

func TestDisruptedPodsThatStay(t *testing.T) {
	pdb := budget(minAvailable("1"))
	controltest.Run(t, []runtime.Object{pod("a", true), pod("b", true), pod("c", true)}, build, func(e *controltest.Env) {
		pdb.Status.DisruptedPods = map[string]metav1.Time{"a": metav1.Now(), "gone": metav1.Now()}
		controltest.Create(e, e.Client.PolicyV1().PodDisruptionBudgets("default"), pdb)
		e.Settle()
		if s := status(e); s.CurrentHealthy != 2 || s.DisruptionsAllowed != 1 || len(s.DisruptedPods) != 1 {
			e.Errorf("with a pod that is about to go: %+v", s)
		}
		e.Pass(2*time.Minute + time.Second)
		if s := status(e); s.CurrentHealthy != 3 || s.DisruptionsAllowed != 2 || len(s.DisruptedPods) != 0 {
			e.Errorf("when it stayed: %+v", s)
		}
		if got := strings.Join(e.Events(), "\n"); !strings.Contains(got, "NotDeleted Pod was expected by PDB default/pdb to be deleted") {
			e.Errorf("events: %s", got)
		}
	})
}

func TestTakesBackDisruptionTarget(t *testing.T) {
	mark := func(name, reason string) *v1.Pod {
		p := pod(name, true)
		p.Status.Conditions = append(p.Status.Conditions, v1.PodCondition{Type: v1.DisruptionTarget, Status: v1.ConditionTrue, Reason: reason, LastTransitionTime: metav1.Now()})
		return p
	}
	controltest.Run(t, nil, build, func(e *controltest.Env) {
		for _, p := range []*v1.Pod{mark("evicted", "EvictionByEvictionAPI"), mark("by-kubelet", v1.PodReasonTerminationByKubelet)} {
			controltest.Create(e, e.Client.CoreV1().Pods("default"), p)
		}
		is := func(name string) v1.ConditionStatus {
			p := controltest.Get(e, e.Client.CoreV1().Pods("default"), name)
			for _, c := range p.Status.Conditions {
				if c.Type == v1.DisruptionTarget {
					return c.Status
				}
			}
			return ""
		}
		e.Pass(time.Minute)
		if is("evicted") != v1.ConditionTrue {
			e.Error("taken back too early")
		}
		e.Pass(2 * time.Minute)
		if is("evicted") != v1.ConditionFalse || is("by-kubelet") != v1.ConditionTrue {
			e.Errorf("evicted: %s, by the kubelet: %s", is("evicted"), is("by-kubelet"))
		}
	})
}

func TestOwnersWithAScale(t *testing.T) {
	answers := map[string]any{
		"/apis/acme.io/v1": metav1.APIResourceList{GroupVersion: "acme.io/v1", APIResources: []metav1.APIResource{
			{Name: "fleets", Kind: "Fleet", Namespaced: true}, {Name: "fleets/scale", Kind: "Scale", Namespaced: true},
			{Name: "rocks", Kind: "Rock", Namespaced: true},
		}},
		"/apis/acme.io/v1/namespaces/default/fleets/f/scale": map[string]any{
			"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": map[string]any{"name": "f", "uid": "f"}, "spec": map[string]any{"replicas": 5},
		},
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer, ok := answers[r.URL.Path]
		w.Header().Set("Content-Type", "application/json")
		if !ok {
			w.WriteHeader(http.StatusNotFound)
			answer = metav1.Status{Status: metav1.StatusFailure, Reason: metav1.StatusReasonNotFound, Code: http.StatusNotFound}
		}
		if err := json.NewEncoder(w).Encode(answer); err != nil {
			t.Error(err)
		}
	}))
	defer server.Close()
	client := discovery.NewDiscoveryClientForConfigOrDie(&rest.Config{Host: server.URL})
	tests := []struct {
		name  string
		owner metav1.OwnerReference
		n     int32
		err   string
	}{
		{"has a scale", ref("acme.io/v1", "Fleet", "f"), 5, ""},
		{"is gone", ref("acme.io/v1", "Fleet", "g"), 0, `found no controllers for pod "a"`},
		{"has none", ref("acme.io/v1", "Rock", "r"), 0, "rocks.acme.io does not implement the scale subresource"},
		{"is of no known kind", ref("acme.io/v1", "Ship", "s"), 0, `no matches for kind "Ship" in version "acme.io/v1"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n, _, err := disruption.ExpectedByScale(t.Context(), client, pod("a", true, tt.owner), pod("b", true, tt.owner))
			if n != tt.n || (err == nil) != (tt.err == "") || (err != nil && err.Error() != tt.err) {
				t.Errorf("%d, %v", n, err)
			}
		})
	}
}
