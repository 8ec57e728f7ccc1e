package daemonset

import (
	"errors"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	corev1helpers "k8s.io/component-helpers/scheduling/corev1"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"
	"k8s.io/klog/v2"
)

// placement says for nodes whether they are meant to have a pod of a DaemonSet.
type placement struct {
	nodeName    string
	affinity    nodeaffinity.RequiredNodeAffinity
	tolerations []v1.Toleration
	log         klog.Logger
}

func placementOf(ds *appsv1.DaemonSet) *placement {
	spec := &ds.Spec.Template.Spec
	return &placement{
		nodeName:    spec.NodeName,
		affinity:    nodeaffinity.GetRequiredNodeAffinity(&v1.Pod{Spec: v1.PodSpec{NodeSelector: spec.NodeSelector, Affinity: spec.Affinity}}),
		tolerations: tolerations(spec),
		log:         klog.Background(),
	}
}

// on reports whether a node should get a pod, and whether one that is there may stay.
func (p *placement) on(n *v1.Node) (run, stay bool) {
	if p.nodeName != "" && p.nodeName != n.Name {
		return false, false
	}
	// An error means terms that match no node.
	if ok, err := p.affinity.Match(n); !ok || err != nil {
		return false, false
	}
	if p.tolerates(n, v1.TaintEffectNoSchedule, v1.TaintEffectNoExecute) {
		return true, true
	}
	return false, p.tolerates(n, v1.TaintEffectNoExecute)
}

func (p *placement) tolerates(n *v1.Node, effects ...v1.TaintEffect) bool {
	_, refused := corev1helpers.FindMatchingUntoleratedTaint(p.log, n.Spec.Taints, p.tolerations, func(t *v1.Taint) bool {
		for _, e := range effects {
			if t.Effect == e {
				return true
			}
		}
		return false
	}, false)
	return !refused
}

// tolerations returns those of a template with those that every daemon has: it stays on a
// node whatever the node's condition.
func tolerations(spec *v1.PodSpec) []v1.Toleration {
	out := append([]v1.Toleration(nil), spec.Tolerations...)
	add := func(key string, effect v1.TaintEffect) {
		t := v1.Toleration{Key: key, Operator: v1.TolerationOpExists, Effect: effect}
		for i := range out {
			if out[i].MatchToleration(&t) {
				out[i] = t
				return
			}
		}
		out = append(out, t)
	}
	add(v1.TaintNodeNotReady, v1.TaintEffectNoExecute)
	add(v1.TaintNodeUnreachable, v1.TaintEffectNoExecute)
	add(v1.TaintNodeDiskPressure, v1.TaintEffectNoSchedule)
	add(v1.TaintNodeMemoryPressure, v1.TaintEffectNoSchedule)
	add(v1.TaintNodePIDPressure, v1.TaintEffectNoSchedule)
	add(v1.TaintNodeUnschedulable, v1.TaintEffectNoSchedule)
	if spec.HostNetwork {
		add(v1.TaintNodeNetworkUnavailable, v1.TaintEffectNoSchedule)
	}
	return out
}

// pinTo makes the scheduler bind a pod to one node. What else the template asks of nodes
// has been looked at; only one term can be told to match one node and no other.
func pinTo(spec *v1.PodSpec, node string) {
	only := &v1.NodeSelector{NodeSelectorTerms: []v1.NodeSelectorTerm{{
		MatchFields: []v1.NodeSelectorRequirement{{
			Key: metav1.ObjectNameField, Operator: v1.NodeSelectorOpIn, Values: []string{node},
		}},
	}}}
	if spec.Affinity == nil {
		spec.Affinity = &v1.Affinity{}
	}
	if spec.Affinity.NodeAffinity == nil {
		spec.Affinity.NodeAffinity = &v1.NodeAffinity{}
	}
	spec.Affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution = only
}

var errNoNode = errors.New("it is bound to no node and names none")

// nodeOf returns the node that a pod is on or was made for.
func nodeOf(p *v1.Pod) (string, error) {
	if p.Spec.NodeName != "" {
		return p.Spec.NodeName, nil
	}
	a := p.Spec.Affinity
	if a == nil || a.NodeAffinity == nil || a.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution == nil {
		return "", fmt.Errorf("pod %s/%s: %w", p.Namespace, p.Name, errNoNode)
	}
	for _, term := range a.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms {
		for _, f := range term.MatchFields {
			if f.Key == metav1.ObjectNameField && f.Operator == v1.NodeSelectorOpIn && len(f.Values) == 1 {
				return f.Values[0], nil
			}
		}
	}
	return "", fmt.Errorf("pod %s/%s: %w", p.Namespace, p.Name, errNoNode)
}
