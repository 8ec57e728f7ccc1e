package provider

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	cloudprovider "k8s.io/cloud-provider"
	"k8s.io/cloud-provider/api"

	"github.com/pintle-dev/pintle/sdk/cloud"
)

// meaning keeps what a provider's error says to who asks.
func meaning(err error) error {
	var retry *api.RetryError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, cloudprovider.InstanceNotFound):
		return cloud.ErrInstanceNotFound
	case errors.Is(err, cloudprovider.ImplementedElsewhere):
		return cloud.ErrImplementedElsewhere
	case errors.As(err, &retry):
		return &cloud.RetryError{Reason: err.Error(), After: retry.RetryAfter()}
	}
	return err
}

type instances struct{ cloudprovider.InstancesV2 }

// InstanceExists implements cloud.Instances.
func (i instances) InstanceExists(ctx context.Context, node *corev1.Node) (bool, error) {
	exists, err := i.InstancesV2.InstanceExists(ctx, node)
	return exists, meaning(err)
}

// InstanceShutdown implements cloud.Instances.
func (i instances) InstanceShutdown(ctx context.Context, node *corev1.Node) (bool, error) {
	shutdown, err := i.InstancesV2.InstanceShutdown(ctx, node)
	return shutdown, meaning(err)
}

// InstanceMetadata implements cloud.Instances.
func (i instances) InstanceMetadata(ctx context.Context, node *corev1.Node) (*cloud.InstanceMetadata, error) {
	m, err := i.InstancesV2.InstanceMetadata(ctx, node)
	if err != nil || m == nil {
		return nil, meaning(err)
	}
	return &cloud.InstanceMetadata{
		ProviderID: m.ProviderID, InstanceType: m.InstanceType, Zone: m.Zone, Region: m.Region,
		Addresses: m.NodeAddresses, AdditionalLabels: m.AdditionalLabels,
	}, nil
}

// instancesV1 is a provider of the old kind, which is asked for one thing at a time.
type instancesV1 struct {
	instances cloudprovider.Instances
	zones     cloudprovider.Zones // nil where there are none
	provider  string
}

// id is the node's provider id, asked for where the node has none yet.
func (i instancesV1) id(ctx context.Context, node *corev1.Node) (string, error) {
	if node.Spec.ProviderID != "" {
		return node.Spec.ProviderID, nil
	}
	id, err := i.instances.InstanceID(ctx, types.NodeName(node.Name))
	if err != nil {
		return "", err
	}
	return i.provider + "://" + id, nil
}

// InstanceExists implements cloudprovider.InstancesV2.
func (i instancesV1) InstanceExists(ctx context.Context, node *corev1.Node) (bool, error) {
	id, err := i.id(ctx, node)
	if errors.Is(err, cloudprovider.InstanceNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return i.instances.InstanceExistsByProviderID(ctx, id)
}

// InstanceShutdown implements cloudprovider.InstancesV2. A provider that can't tell has none.
func (i instancesV1) InstanceShutdown(ctx context.Context, node *corev1.Node) (bool, error) {
	id, err := i.id(ctx, node)
	if err != nil {
		return false, err
	}
	shutdown, err := i.instances.InstanceShutdownByProviderID(ctx, id)
	if errors.Is(err, cloudprovider.NotImplemented) {
		return false, nil
	}
	return shutdown, err
}

// InstanceMetadata implements cloudprovider.InstancesV2.
func (i instancesV1) InstanceMetadata(ctx context.Context, node *corev1.Node) (*cloudprovider.InstanceMetadata, error) {
	id, err := i.id(ctx, node)
	if err != nil {
		return nil, err
	}
	out := &cloudprovider.InstanceMetadata{ProviderID: id}
	if out.InstanceType, err = i.instances.InstanceTypeByProviderID(ctx, id); err != nil {
		return nil, fmt.Errorf("instance type: %w", err)
	}
	if out.NodeAddresses, err = i.instances.NodeAddressesByProviderID(ctx, id); err != nil {
		return nil, fmt.Errorf("addresses: %w", err)
	}
	if i.zones != nil {
		zone, err := i.zones.GetZoneByProviderID(ctx, id)
		if err != nil {
			return nil, fmt.Errorf("zone: %w", err)
		}
		out.Zone, out.Region = zone.FailureDomain, zone.Region
	}
	return out, nil
}

type balancers struct{ b cloudprovider.LoadBalancer }

// GetLoadBalancer implements cloud.LoadBalancers.
func (b balancers) GetLoadBalancer(ctx context.Context, cluster string, service *corev1.Service) (*corev1.LoadBalancerStatus, error) {
	st, exists, err := b.b.GetLoadBalancer(ctx, cluster, service)
	if err != nil || !exists {
		return nil, meaning(err)
	}
	if st == nil {
		st = &corev1.LoadBalancerStatus{}
	}
	return st, nil
}

// EnsureLoadBalancer implements cloud.LoadBalancers.
func (b balancers) EnsureLoadBalancer(ctx context.Context, cluster string, service *corev1.Service, nodes []*corev1.Node) (*corev1.LoadBalancerStatus, error) {
	st, err := b.b.EnsureLoadBalancer(ctx, cluster, service, nodes)
	if err == nil && st == nil {
		st = &corev1.LoadBalancerStatus{}
	}
	return st, meaning(err)
}

// UpdateLoadBalancer implements cloud.LoadBalancers.
func (b balancers) UpdateLoadBalancer(ctx context.Context, cluster string, service *corev1.Service, nodes []*corev1.Node) error {
	return meaning(b.b.UpdateLoadBalancer(ctx, cluster, service, nodes))
}

// DeleteLoadBalancer implements cloud.LoadBalancers.
func (b balancers) DeleteLoadBalancer(ctx context.Context, cluster string, service *corev1.Service) error {
	return meaning(b.b.EnsureLoadBalancerDeleted(ctx, cluster, service))
}

type routes struct{ r cloudprovider.Routes }

// ListRoutes implements cloud.Routes.
func (r routes) ListRoutes(ctx context.Context, cluster string) ([]cloud.Route, error) {
	list, err := r.r.ListRoutes(ctx, cluster)
	if err != nil {
		return nil, meaning(err)
	}
	out := make([]cloud.Route, 0, len(list))
	for _, route := range list {
		out = append(out, cloud.Route{
			Name: route.Name, TargetNode: string(route.TargetNode), DestinationCIDR: route.DestinationCIDR, Blackhole: route.Blackhole,
			TargetAddresses: route.TargetNodeAddresses, EnableNodeAddresses: route.EnableNodeAddresses,
		})
	}
	return out, nil
}

func routeFor(r cloud.Route) *cloudprovider.Route {
	return &cloudprovider.Route{
		Name: r.Name, TargetNode: types.NodeName(r.TargetNode), DestinationCIDR: r.DestinationCIDR, Blackhole: r.Blackhole,
		TargetNodeAddresses: r.TargetAddresses, EnableNodeAddresses: r.EnableNodeAddresses,
	}
}

// CreateRoute implements cloud.Routes.
func (r routes) CreateRoute(ctx context.Context, cluster, nameHint string, route cloud.Route) error {
	return meaning(r.r.CreateRoute(ctx, cluster, nameHint, routeFor(route)))
}

// DeleteRoute implements cloud.Routes.
func (r routes) DeleteRoute(ctx context.Context, cluster string, route cloud.Route) error {
	return meaning(r.r.DeleteRoute(ctx, cluster, routeFor(route)))
}
