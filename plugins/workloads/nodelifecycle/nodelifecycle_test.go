package nodelifecycle_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"github.com/pintle-dev/pintle/plugins/workloads/control"
	"github.com/pintle-dev/pintle/plugins/workloads/control/controltest"
	"github.com/pintle-dev/pintle/plugins/workloads/nodelifecycle"
)

func build(kit control.Kit) ([]controltest.Runner, error) {
	c, err := nodelifecycle.New(kit, 5*time.Second, 40*time.Second)
	return []controltest.Runner{c}, err
}

func node(name string, ready v1.ConditionStatus) *v1.Node {
	return &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}, Status: v1.NodeStatus{Conditions: []v1.NodeCondition{{Type: v1.NodeReady, Status: ready}}}}
}

func lease(name string) *coordinationv1.Lease {
	now := metav1.NowMicro()
	return &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: v1.NamespaceNodeLease}, Spec: coordinationv1.LeaseSpec{RenewTime: &now}}
}

func pod(name, node string, tolerations ...v1.Toleration) *v1.Pod {
	return &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default", UID: types.UID(name)},
		Spec:       v1.PodSpec{NodeName: node, Tolerations: tolerations},
		Status:     v1.PodStatus{Phase: v1.PodRunning, Conditions: []v1.PodCondition{{Type: v1.PodReady, Status: v1.ConditionTrue}}},
	}
}

func tolerate(key string, seconds int64) v1.Toleration {
	t := v1.Toleration{Key: key, Operator: v1.TolerationOpExists, Effect: v1.TaintEffectNoExecute}
	if seconds >= 0 {
		t.TolerationSeconds = &seconds
	}
	return t
}

func taints(e *controltest.Env, name string) []string {
	n := controltest.Get(e, e.Client.CoreV1().Nodes(), name)
	out := []string{}
	for _, t := range n.Spec.Taints {
		out = append(out, fmt.Sprintf("%s:%s", t.Key, t.Effect))
	}
	slices.Sort(out)
	return out
}

// beat lets time pass in which some nodes renew their leases.
func beat(e *controltest.Env, d time.Duration, alive ...string) {
	for end := time.Now().Add(d); time.Now().Before(end); {
		for _, name := range alive {
			controltest.Update(e, e.Client.CoordinationV1().Leases(v1.NamespaceNodeLease), lease(name))
		}
		e.Pass(5 * time.Second)
	}
}

func TestASilentNode(t *testing.T) {
	objects := []runtime.Object{
		node("alive", v1.ConditionTrue), node("dead", v1.ConditionTrue), lease("alive"), lease("dead"),
		pod("impatient", "dead"), pod("patient", "dead", tolerate(v1.TaintNodeUnreachable, 60)), pod("forever", "dead", tolerate(v1.TaintNodeUnreachable, -1)),
		pod("elsewhere", "alive"),
	}
	controltest.Run(t, objects, build, func(e *controltest.Env) {
		beat(e, 30*time.Second, "alive")
		if got := taints(e, "dead"); len(got) != 0 {
			e.Errorf("too early: %v", got)
		}
		beat(e, 20*time.Second, "alive")
		want := []string{"node.kubernetes.io/unreachable:NoExecute", "node.kubernetes.io/unreachable:NoSchedule"}
		if got := taints(e, "dead"); !slices.Equal(got, want) {
			e.Errorf("taints: %v", got)
		}
		n := controltest.Get(e, e.Client.CoreV1().Nodes(), "dead")
		if c := n.Status.Conditions[0]; c.Status != v1.ConditionUnknown || c.Reason != "NodeStatusUnknown" || c.Message != "Kubelet stopped posting node status." {
			e.Errorf("condition: %+v", c)
		}
		if got := e.PodNames(); !slices.Equal(got, []string{"elsewhere", "forever", "patient"}) {
			e.Errorf("pods: %v", got)
		}
		p := controltest.Get(e, e.Client.CoreV1().Pods("default"), "forever")
		if _, ready := control.PodReady(p); ready {
			e.Error("a pod on a dead node is ready")
		}
		beat(e, 60*time.Second, "alive")
		if got := e.PodNames(); !slices.Equal(got, []string{"elsewhere", "forever"}) {
			e.Errorf("pods: %v", got)
		}
		if !slices.Contains(e.Events(), "Normal TaintManagerEviction Marking for deletion Pod default/patient") {
			e.Errorf("events: %v", e.Events())
		}
		// It comes back.
		back := node("dead", v1.ConditionTrue)
		back.Spec = n.Spec
		back.Status.Conditions[0].LastHeartbeatTime = metav1.Now()
		controltest.Update(e, e.Client.CoreV1().Nodes(), back)
		beat(e, 10*time.Second, "alive", "dead")
		if got := taints(e, "dead"); len(got) != 0 {
			e.Errorf("taints of a node that is back: %v", got)
		}
	})
}

func TestNobodyIsEvictedWhereNoNodeIsReady(t *testing.T) {
	objects := []runtime.Object{node("only", v1.ConditionTrue), lease("only"), pod("p", "only")}
	controltest.Run(t, objects, build, func(e *controltest.Env) {
		beat(e, 10*time.Minute)
		if got := taints(e, "only"); !slices.Equal(got, []string{"node.kubernetes.io/unreachable:NoSchedule"}) {
			e.Errorf("taints: %v", got)
		}
		if _, err := e.Client.CoreV1().Pods("default").Get(e.Ctx, "p", metav1.GetOptions{}); err != nil {
			e.Error(err)
		}
	})
}

func TestConditionsBecomeTaints(t *testing.T) {
	n := node("n", v1.ConditionFalse)
	n.Spec.Unschedulable = true
	n.Spec.Taints = []v1.Taint{{Key: "mine", Effect: v1.TaintEffectNoSchedule}, {Key: v1.TaintNodeDiskPressure, Effect: v1.TaintEffectNoSchedule}}
	n.Status.Conditions = append(n.Status.Conditions, v1.NodeCondition{Type: v1.NodeMemoryPressure, Status: v1.ConditionTrue})
	controltest.Run(t, []runtime.Object{n, node("other", v1.ConditionTrue)}, build, func(e *controltest.Env) {
		want := []string{"mine:NoSchedule", "node.kubernetes.io/memory-pressure:NoSchedule", "node.kubernetes.io/not-ready:NoExecute",
			"node.kubernetes.io/not-ready:NoSchedule", "node.kubernetes.io/unschedulable:NoSchedule"}
		if got := taints(e, "n"); !slices.Equal(got, want) {
			e.Errorf("taints: %v", got)
		}
	})
}
