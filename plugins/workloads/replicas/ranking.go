package replicas

import (
	"math/bits"
	"slices"
	"strconv"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/pintle-dev/pintle/plugins/workloads/control"
)

// leastUseful returns the n pods that are missed least: those without a node before
// those with one, pending before running, not ready before ready, cheap to delete before
// dear, on a node with many siblings before alone, ready for a short time before long,
// often restarted before seldom, young before old.
func leastUseful(active, related []*v1.Pod, n int, now time.Time) []*v1.Pod {
	if n >= len(active) {
		return active
	}
	siblings := map[string]int{}
	for _, p := range related {
		if p.Spec.NodeName != "" && control.PodActive(p) {
			siblings[p.Spec.NodeName]++
		}
	}
	candidates := make([]candidate, len(active))
	for i, p := range active {
		candidates[i] = newCandidate(p, siblings[p.Spec.NodeName], now)
	}
	slices.SortStableFunc(candidates, func(a, b candidate) int { return slices.Compare(a.rank[:], b.rank[:]) })
	out := make([]*v1.Pod, n)
	for i := range out {
		out[i] = candidates[i].pod
	}
	return out
}

// candidate is a pod with its place in the order; what is smaller is deleted first.
type candidate struct {
	pod  *v1.Pod
	rank [8]int64
}

func newCandidate(p *v1.Pod, siblings int, now time.Time) candidate {
	c := candidate{pod: p}
	if p.Spec.NodeName != "" {
		c.rank[0] = 1
	}
	switch p.Status.Phase {
	case v1.PodRunning:
		c.rank[1] = 2
	case v1.PodUnknown:
		c.rank[1] = 1
	}
	ready, isReady := control.PodReady(p)
	if isReady {
		c.rank[2] = 1
	}
	c.rank[3] = deletionCost(p)
	c.rank[4] = -int64(siblings)
	if isReady {
		c.rank[5] = ageRank(now.Sub(ready.LastTransitionTime.Time))
	}
	for _, s := range p.Status.ContainerStatuses {
		c.rank[6] = min(c.rank[6], -int64(s.RestartCount))
	}
	c.rank[7] = ageRank(now.Sub(p.CreationTimestamp.Time))
	return c
}

// ageRank counts ages in powers of two, so that pods of about one age are alike.
func ageRank(age time.Duration) int64 {
	if age <= 0 {
		return 0
	}
	return int64(bits.Len64(uint64(age)))
}

func deletionCost(p *v1.Pod) int64 {
	cost, err := strconv.ParseInt(p.Annotations[control.DeletionCost], 10, 32)
	if err != nil {
		return 0
	}
	return cost
}
