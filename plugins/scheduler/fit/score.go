package fit

import (
	"math"

	v1 "k8s.io/api/core/v1"

	"github.com/pintle-dev/pintle/plugins/scheduler/cache"
)

// Each criterion gives 0 to full; these are their weights.
const (
	full = 100_000

	weightLeast    = 1
	weightBalanced = 1
	weightAffinity = 2
	weightTaints   = 3
	weightPods     = 2
	weightTopology = 2
)

// score rates a node that fits. It depends on the pod and the node alone, never on the
// other nodes, so that it stays true until the node changes.
func (d *demand) score(n *cache.NodeInfo) int64 {
	alloc := &n.Node.Allocatable
	cpu := share(n.Load.MilliCPU+d.pod.Load.MilliCPU, alloc.MilliCPU)
	memory := share(n.Load.Memory+d.pod.Load.Memory, alloc.Memory)
	least := (2 - cpu - memory) / 2
	balanced := 1 - math.Abs(cpu-memory)/2
	total := int64(full * (weightLeast*least + weightBalanced*balanced))
	if d.prefer != nil && d.preferMax > 0 {
		total += weightAffinity * full * d.prefer.Score(n.API) / d.preferMax
	}
	avoid := int64(0)
	for i := range n.Node.Taints {
		t := &n.Node.Taints[i]
		if t.Effect == v1.TaintEffectPreferNoSchedule && !d.tolerates(t) {
			avoid++
		}
	}
	return total + weightTaints*full/(1+avoid)
}

// share is how much of capacity is used, 0 to 1. What is missing altogether counts as
// used up.
func share(used, capacity int64) float64 {
	if capacity <= 0 || used >= capacity {
		return 1
	}
	return float64(used) / float64(capacity)
}
