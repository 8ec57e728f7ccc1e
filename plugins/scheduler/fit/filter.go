package fit

import (
	v1 "k8s.io/api/core/v1"
	corev1helpers "k8s.io/component-helpers/scheduling/corev1"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"
	"k8s.io/klog/v2"

	"github.com/pintle-dev/pintle/plugins/scheduler/cache"
	"github.com/pintle-dev/pintle/plugins/scheduler/model"
)

// demand is what a pod asks of a node by itself, prepared for many nodes.
type demand struct {
	pod      *model.Pod
	affinity *nodeaffinity.RequiredNodeAffinity
	prefer   *nodeaffinity.PreferredSchedulingTerms
	// preferMax is the sum of the weights of prefer.
	preferMax int64
	tolerate  bool // the pod tolerates an unschedulable node
	log       klog.Logger
}

func newDemand(p *model.Pod) (*demand, error) {
	d := &demand{pod: p, log: klog.Background()}
	d.tolerate = d.tolerates(&v1.Taint{Key: v1.TaintNodeUnschedulable, Effect: v1.TaintEffectNoSchedule})
	if len(p.NodeSelector) > 0 || p.NodeAffinity != nil {
		spec := v1.PodSpec{NodeSelector: p.NodeSelector}
		if p.NodeAffinity != nil {
			spec.Affinity = &v1.Affinity{NodeAffinity: p.NodeAffinity}
		}
		required := nodeaffinity.GetRequiredNodeAffinity(&v1.Pod{Spec: spec})
		d.affinity = &required
	}
	if p.NodeAffinity != nil && len(p.NodeAffinity.PreferredDuringSchedulingIgnoredDuringExecution) > 0 {
		terms := p.NodeAffinity.PreferredDuringSchedulingIgnoredDuringExecution
		var err error
		if d.prefer, err = nodeaffinity.NewPreferredSchedulingTerms(terms); err != nil {
			return nil, err
		}
		for _, t := range terms {
			d.preferMax += int64(t.Weight)
		}
	}
	return d, nil
}

func (d *demand) tolerates(t *v1.Taint) bool {
	return corev1helpers.TolerationsTolerateTaint(d.log, d.pod.Tolerations, t, false)
}

// fits reports whether a node can take the pod, and to r why not.
func (d *demand) fits(n *cache.NodeInfo, r *report) bool {
	if n.Node.Unschedulable && !d.tolerate {
		r.add(Taints, reasonUnschedulable)
		return false
	}
	for i := range n.Node.Taints {
		t := &n.Node.Taints[i]
		if t.Effect != v1.TaintEffectPreferNoSchedule && !d.tolerates(t) {
			r.add(Taints, reasonTaints)
			return false
		}
	}
	if d.affinity != nil {
		// An error means terms that can't match any node.
		if ok, err := d.affinity.Match(n.API); !ok || err != nil {
			r.add(NodeAffinity, reasonNodeAffinity)
			return false
		}
	}
	for _, want := range d.pod.HostPorts {
		for _, taken := range n.Ports {
			if want.Conflicts(taken) {
				r.add(Ports, reasonPorts)
				return false
			}
		}
	}
	return Fits(d.pod, n, r)
}

// Fits reports whether the node has room for the pod.
func Fits(p *model.Pod, n *cache.NodeInfo, r *report) bool {
	ok := true
	short := func(reason string) {
		r.add(Resources, reason)
		ok = false
	}
	if int64(len(n.Pods))+1 > n.Node.AllowedPods {
		short(reasonTooManyPods)
	}
	want := &p.Requests
	cpu, memory, ephemeral := n.Free()
	if want.MilliCPU > 0 && want.MilliCPU > cpu {
		short(reasonCPU)
	}
	if want.Memory > 0 && want.Memory > memory {
		short(reasonMemory)
	}
	if want.EphemeralStorage > 0 && want.EphemeralStorage > ephemeral {
		short(reasonEphemeral)
	}
	for name, amount := range want.Scalar {
		if amount > 0 && amount > n.Node.Allocatable.Scalar[name]-n.Requested.Scalar[name] {
			short("Insufficient " + string(name))
		}
	}
	return ok
}

// HasRoom reports whether a node could take what the pod requests.
func HasRoom(p *model.Pod, n *cache.NodeInfo) bool { return n.Node != nil && Fits(p, n, nil) }
