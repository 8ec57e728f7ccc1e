package podgc

import (
	"slices"

	v1 "k8s.io/api/core/v1"

	"github.com/pintle-dev/pintle/plugins/workloads/control"
)

// reason says why a pod is deleted.
type reason int

const (
	nodeGone reason = iota
	neverPlaced
	tooMany
)

// victim is a pod to be deleted.
type victim struct {
	pod *v1.Pod
	why reason
}

// decide chooses the pods to be deleted. gone reports whether a node has been missing for
// long enough; threshold is how many finished pods may stay, 0 for all.
func decide(pods []*v1.Pod, gone func(node string) bool, threshold int) []victim {
	var out []victim
	var finished []*v1.Pod
	for _, p := range pods {
		switch {
		case p.Spec.NodeName == "":
			if p.DeletionTimestamp != nil {
				out = append(out, victim{p, neverPlaced})
			}
		case gone(p.Spec.NodeName):
			out = append(out, victim{p, nodeGone})
		case control.PodFinished(p) && p.DeletionTimestamp == nil:
			finished = append(finished, p)
		}
	}
	if threshold > 0 && len(finished) > threshold {
		slices.SortFunc(finished, func(a, b *v1.Pod) int { return a.CreationTimestamp.Compare(b.CreationTimestamp.Time) })
		for _, p := range finished[:len(finished)-threshold] {
			out = append(out, victim{p, tooMany})
		}
	}
	return out
}
