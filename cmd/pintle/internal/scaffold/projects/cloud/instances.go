package main

import (
	"context"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/pintle-dev/pintle/sdk/cloud"
)

// instances are the machines in the settings. Those of a real cloud come from its API; what asks
// for them stays as it is.
type instances struct {
	settings Settings
}

var _ cloud.Instances = (*instances)(nil)

// find returns the machine of a node, nil where there is none.
func (i *instances) find(node *corev1.Node) *Machine {
	name, known := strings.CutPrefix(node.Spec.ProviderID, provider+"://")
	if !known {
		name = node.Name
	}
	for m := range i.settings.Machines {
		if i.settings.Machines[m].Name == name {
			return &i.settings.Machines[m]
		}
	}
	return nil
}

// InstanceExists implements cloud.Instances.
func (i *instances) InstanceExists(_ context.Context, node *corev1.Node) (bool, error) {
	return i.find(node) != nil, nil
}

// InstanceShutdown implements cloud.Instances.
func (i *instances) InstanceShutdown(_ context.Context, node *corev1.Node) (bool, error) {
	m := i.find(node)
	return m != nil && m.Off, nil
}

// InstanceMetadata implements cloud.Instances.
func (i *instances) InstanceMetadata(_ context.Context, node *corev1.Node) (*cloud.InstanceMetadata, error) {
	m := i.find(node)
	if m == nil {
		return nil, cloud.ErrInstanceNotFound
	}
	out := &cloud.InstanceMetadata{
		ProviderID:   provider + "://" + m.Name,
		InstanceType: m.Type,
		Zone:         i.settings.Zone,
	}
	if m.Address != "" {
		out.Addresses = []corev1.NodeAddress{
			{Type: corev1.NodeInternalIP, Address: m.Address},
			{Type: corev1.NodeHostName, Address: m.Name},
		}
	}
	return out, nil
}
