package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/pintle-dev/pintle/sdk/cloud"
)

// instance is a machine as it stands in the file.
type instance struct {
	// Name is the node's.
	Name      string   `json:"name"`
	ID        string   `json:"id"`
	Type      string   `json:"type"`
	Zone      string   `json:"zone"`
	Region    string   `json:"region"`
	Addresses []string `json:"addresses"`
	Shutdown  bool     `json:"shutdown"`
}

// instances are the machines of a file.
type instances struct{ file string }

var _ cloud.Instances = instances{}

// find returns a node's machine, nil where there is none. A file that can't be read is an error,
// and not a file without machines: their nodes would be deleted.
func (i instances) find(node *corev1.Node) (*instance, error) {
	text, err := os.ReadFile(i.file)
	if err != nil {
		return nil, err
	}
	var all []instance
	if err := yaml.UnmarshalStrict(text, &all); err != nil {
		return nil, fmt.Errorf("%s: %w", i.file, err)
	}
	id, known := strings.CutPrefix(node.Spec.ProviderID, providerName+"://")
	for n := range all {
		if known && all[n].ID == id || !known && all[n].Name == node.Name {
			return &all[n], nil
		}
	}
	return nil, nil //nolint:nilnil // there is none
}

// InstanceExists implements cloud.Instances.
func (i instances) InstanceExists(_ context.Context, node *corev1.Node) (bool, error) {
	found, err := i.find(node)
	return found != nil, err
}

// InstanceShutdown implements cloud.Instances.
func (i instances) InstanceShutdown(_ context.Context, node *corev1.Node) (bool, error) {
	found, err := i.find(node)
	return found != nil && found.Shutdown, err
}

// InstanceMetadata implements cloud.Instances.
func (i instances) InstanceMetadata(_ context.Context, node *corev1.Node) (*cloud.InstanceMetadata, error) {
	found, err := i.find(node)
	if err != nil {
		return nil, err
	}
	if found == nil {
		return nil, fmt.Errorf("%w: %s has no machine for node %s", cloud.ErrInstanceNotFound, i.file, node.Name)
	}
	m := &cloud.InstanceMetadata{
		ProviderID: providerName + "://" + found.ID, InstanceType: found.Type, Zone: found.Zone, Region: found.Region,
		Addresses: []corev1.NodeAddress{{Type: corev1.NodeHostName, Address: found.Name}},
	}
	for _, a := range found.Addresses {
		m.Addresses = append(m.Addresses, corev1.NodeAddress{Type: corev1.NodeInternalIP, Address: a})
	}
	return m, nil
}
