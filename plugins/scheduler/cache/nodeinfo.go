package cache

import (
	"slices"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/pintle-dev/pintle/plugins/scheduler/model"
)

// NodeInfo is a node with the sum of its pods. Readers must not change it.
type NodeInfo struct {
	Name string
	// Slot is the node's place in Cache.Slots, unchanged while the node is known.
	Slot int
	// Node is nil where pods are placed on a node that is not known (yet, or any more).
	Node *model.Node
	// API is Node as node-affinity libraries want it; nil where Node is.
	API *v1.Node
	// Requested is the sum of the requests of Pods, Load the sum of their loads.
	Requested model.Resources
	Load      model.Load
	Pods      map[types.UID]*model.Pod
	// Ports are the host ports that are taken.
	Ports []model.HostPort
}

func (n *NodeInfo) add(p *model.Pod) {
	n.Requested.Add(&p.Requests)
	n.Load.MilliCPU += p.Load.MilliCPU
	n.Load.Memory += p.Load.Memory
	n.Ports = append(n.Ports, p.HostPorts...)
	n.Pods[p.UID] = p
}

func (n *NodeInfo) remove(p *model.Pod) {
	n.Requested.Sub(&p.Requests)
	n.Load.MilliCPU -= p.Load.MilliCPU
	n.Load.Memory -= p.Load.Memory
	for _, port := range p.HostPorts {
		if i := slices.Index(n.Ports, port); i >= 0 {
			n.Ports = slices.Delete(n.Ports, i, i+1)
		}
	}
	delete(n.Pods, p.UID)
}

// Free returns how much of cpu, memory and ephemeral storage is not requested.
func (n *NodeInfo) Free() (milliCPU, memory, ephemeral int64) {
	if n.Node == nil {
		return 0, 0, 0
	}
	a := &n.Node.Allocatable
	return a.MilliCPU - n.Requested.MilliCPU, a.Memory - n.Requested.Memory,
		a.EphemeralStorage - n.Requested.EphemeralStorage
}
