package nodelifecycle

import (
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func conditionOf(n *v1.Node, t v1.NodeConditionType) *v1.NodeCondition {
	for i := range n.Status.Conditions {
		if n.Status.Conditions[i].Type == t {
			return &n.Status.Conditions[i]
		}
	}
	return nil
}

// ready reports whether the node says of itself that it is ready.
func ready(n *v1.Node) bool {
	c := conditionOf(n, v1.NodeReady)
	return c != nil && c.Status == v1.ConditionTrue
}

// silence returns the conditions of a node that has been silent for too long, nil if they
// say so already.
func silence(n *v1.Node, now time.Time) []v1.NodeCondition {
	var out []v1.NodeCondition
	for _, t := range []v1.NodeConditionType{v1.NodeReady, v1.NodeMemoryPressure, v1.NodeDiskPressure, v1.NodePIDPressure} {
		old := conditionOf(n, t)
		c := v1.NodeCondition{
			Type: t, Status: v1.ConditionUnknown, Reason: "NodeStatusUnknown",
			Message: "Kubelet stopped posting node status.", LastTransitionTime: metav1.NewTime(now),
		}
		switch {
		case old == nil:
			c.Reason, c.Message = "NodeStatusNeverUpdated", "Kubelet never posted node status."
			c.LastHeartbeatTime = n.CreationTimestamp
		case old.Status == v1.ConditionUnknown:
			continue
		default:
			c.LastHeartbeatTime = old.LastHeartbeatTime
		}
		out = append(out, c)
	}
	return out
}

// byCondition are the taints that stand for conditions, by the status that calls for them.
var byCondition = []struct {
	condition v1.NodeConditionType
	status    v1.ConditionStatus
	key       string
}{
	{v1.NodeReady, v1.ConditionFalse, v1.TaintNodeNotReady},
	{v1.NodeReady, v1.ConditionUnknown, v1.TaintNodeUnreachable},
	{v1.NodeMemoryPressure, v1.ConditionTrue, v1.TaintNodeMemoryPressure},
	{v1.NodeDiskPressure, v1.ConditionTrue, v1.TaintNodeDiskPressure},
	{v1.NodePIDPressure, v1.ConditionTrue, v1.TaintNodePIDPressure},
	{v1.NodeNetworkUnavailable, v1.ConditionTrue, v1.TaintNodeNetworkUnavailable},
}

// ours reports whether a taint is one that this package sets and takes off.
func ours(t v1.Taint) bool {
	if t.Effect == v1.TaintEffectNoExecute {
		return t.Key == v1.TaintNodeNotReady || t.Key == v1.TaintNodeUnreachable
	}
	if t.Effect != v1.TaintEffectNoSchedule {
		return false
	}
	for _, b := range byCondition {
		if t.Key == b.key {
			return true
		}
	}
	return t.Key == v1.TaintNodeUnschedulable
}

// taints returns the taints that a node should have and whether they differ from those
// it has. With evict false no taint is added that would drive pods away: where no node at
// all is ready the fault is rather with us.
func taints(n *v1.Node, evict bool, now time.Time) ([]v1.Taint, bool) {
	var want []v1.Taint
	add := func(key string, effect v1.TaintEffect) { want = append(want, v1.Taint{Key: key, Effect: effect}) }
	if n.Spec.Unschedulable {
		add(v1.TaintNodeUnschedulable, v1.TaintEffectNoSchedule)
	}
	for _, b := range byCondition {
		c := conditionOf(n, b.condition)
		if c == nil || c.Status != b.status {
			continue
		}
		add(b.key, v1.TaintEffectNoSchedule)
		if b.condition == v1.NodeReady && evict {
			add(b.key, v1.TaintEffectNoExecute)
		}
	}
	var out []v1.Taint
	changed := false
	for _, t := range n.Spec.Taints {
		if ours(t) && !slices.ContainsFunc(want, func(w v1.Taint) bool { return w.MatchTaint(&t) }) {
			changed = true
			continue
		}
		out = append(out, t)
	}
	for i := range want {
		t := want[i]
		if slices.ContainsFunc(out, func(o v1.Taint) bool { return o.MatchTaint(&t) }) {
			continue
		}
		added := metav1.NewTime(now)
		t.TimeAdded = &added
		out, changed = append(out, t), true
	}
	return out, changed
}
