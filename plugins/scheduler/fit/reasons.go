package fit

import (
	"fmt"
	"sort"
	"strings"
)

// Cause is a set of the kinds of reasons for which a pod did not fit. It says which
// events could make it fit.
type Cause uint16

// The kinds of reasons.
const (
	Resources Cause = 1 << iota
	NodeAffinity
	Taints
	Ports
	PodAffinity
	Spread
	// NoNodes says that there was no node to look at.
	NoNodes
	// Refused says that the pod asks for what this scheduler does not do.
	Refused
	// Extension says that a plugin with a part in scheduling had a say.
	Extension
	// Volumes says that the pod's claims have no volume that the node could have.
	Volumes
	// VolumeInUse says that another pod has a claim of the pod's that only one may have.
	VolumeInUse

	// Any is all of them.
	Any = Resources | NodeAffinity | Taints | Ports | PodAffinity | Spread | NoNodes | Refused | Extension | Volumes | VolumeInUse
)

// What users see, in the words that they know from Kubernetes.
const (
	reasonUnschedulable = "node(s) were unschedulable"
	reasonTaints        = "node(s) had untolerated taint(s)"
	reasonNodeAffinity  = "node(s) didn't match Pod's node affinity/selector"
	reasonPorts         = "node(s) didn't have free ports for the requested pod ports"
	reasonTooManyPods   = "Too many pods"
	reasonCPU           = "Insufficient cpu"
	reasonMemory        = "Insufficient memory"
	reasonEphemeral     = "Insufficient ephemeral-storage"
	reasonSpread        = "node(s) didn't match pod topology spread constraints"
	reasonSpreadLabel   = reasonSpread + " (missing required label)"
	reasonExistingAnti  = "node(s) didn't satisfy existing pods anti-affinity rules"
	reasonAffinity      = "node(s) didn't match pod affinity rules"
	reasonAntiAffinity  = "node(s) didn't match pod anti-affinity rules"
	noNodes             = "no nodes available to schedule pods"
)

// Error says why a pod fits nowhere.
type Error struct {
	// Nodes is how many nodes were looked at.
	Nodes int
	Cause Cause
	// Reasons counts nodes by reason.
	Reasons map[string]int
	// Refusal replaces Reasons where no node needed to be looked at.
	Refusal string
}

// Error gives the text that kube-scheduler would give.
func (e *Error) Error() string {
	if e.Cause&NoNodes != 0 {
		return noNodes
	}
	if e.Refusal != "" {
		return fmt.Sprintf("0/%d nodes are available: %s.", e.Nodes, e.Refusal)
	}
	texts := make([]string, 0, len(e.Reasons))
	for reason, n := range e.Reasons {
		texts = append(texts, fmt.Sprintf("%d %s", n, reason))
	}
	sort.Strings(texts)
	return fmt.Sprintf("0/%d nodes are available: %s.", e.Nodes, strings.Join(texts, ", "))
}

// report gathers why nodes were refused. A nil report gathers nothing.
type report struct {
	reasons map[string]int
	cause   Cause
}

func (r *report) add(c Cause, reason string) {
	if r == nil {
		return
	}
	r.reasons[reason]++
	r.cause |= c
}
