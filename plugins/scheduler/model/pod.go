package model

import (
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Pod is what scheduling knows of a pod.
type Pod struct {
	metav1.ObjectMeta
	NodeName      string
	SchedulerName string
	Priority      int32
	Phase         v1.PodPhase
	// Requests is the effective request: containers, init containers, overhead and
	// pod-level resources taken together.
	Requests Resources
	Load     Load
	// Class is equal for pods that ask the same of a node as far as that can be told from
	// the node alone.
	Class string
	*Constraints
	// Raw is the pod's JSON, where it was kept.
	Raw string
	// Reason and Message of a PodScheduled condition that is False.
	Reason, Message string
}

// Constraints are what most pods have few of. It is shared and must not be changed.
type Constraints struct {
	NodeSelector map[string]string
	NodeAffinity *v1.NodeAffinity
	PodAffinity  *v1.PodAffinity
	AntiAffinity *v1.PodAntiAffinity
	Tolerations  []v1.Toleration
	Spread       []v1.TopologySpreadConstraint
	HostPorts    []HostPort
	// Gated says that scheduling gates are left.
	Gated bool
	// Claims are the names of persistent volume claims.
	Claims []string
	// EphemeralClaims are those of them that are made for the pod.
	EphemeralClaims []string
	// DeviceClaims says that the pod asks for devices by resource claims.
	DeviceClaims bool
}

// HostPort is a port of the node that a pod takes.
type HostPort struct {
	IP       string // "" stands for all addresses
	Protocol v1.Protocol
	Port     int32
}

// Conflicts reports whether both ports can't be open on one node.
func (p HostPort) Conflicts(o HostPort) bool {
	return p.Port == o.Port && p.Protocol == o.Protocol &&
		(p.IP == o.IP || p.IP == "" || o.IP == "")
}

var _ runtime.Object = (*Pod)(nil)

// GetObjectKind satisfies runtime.Object; the kind is not kept.
func (p *Pod) GetObjectKind() schema.ObjectKind { return schema.EmptyObjectKind }

// DeepCopyObject returns p itself: objects of this package are not changed once decoded.
func (p *Pod) DeepCopyObject() runtime.Object { return p }

// Terminal reports whether the pod has finished and takes nothing of its node any more.
func (p *Pod) Terminal() bool { return p.Phase == v1.PodSucceeded || p.Phase == v1.PodFailed }

// Simple reports whether the pod's fit on a node depends on that node alone and on
// nothing but its resources, taints and labels.
func (p *Pod) Simple() bool {
	return p.PodAffinity == nil && p.AntiAffinity == nil && len(p.Spread) == 0 && len(p.HostPorts) == 0
}

// On returns a copy of the pod that is placed on a node.
func (p *Pod) On(node string) *Pod {
	c := *p
	c.NodeName, c.Raw = node, ""
	return &c
}

var none = &Constraints{}
