package cloud

import (
	"context"
	"errors"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	cloudprovider "k8s.io/cloud-provider"
	"k8s.io/cloud-provider/api"

	sdkcloud "github.com/pintle-dev/pintle/sdk/cloud"
)

// provider makes a cloud's services what the controllers ask.
type provider struct{ services sdkcloud.Services }

var _ cloudprovider.Interface = provider{}

// meaning returns the very errors that the controllers compare with.
func meaning(err error) error {
	var retry *sdkcloud.RetryError
	switch {
	case errors.Is(err, sdkcloud.ErrInstanceNotFound):
		return cloudprovider.InstanceNotFound
	case errors.Is(err, sdkcloud.ErrImplementedElsewhere):
		return cloudprovider.ImplementedElsewhere
	case errors.As(err, &retry):
		return api.NewRetryError(retry.Reason, retry.After)
	}
	return err
}

// Initialize implements cloudprovider.Interface; the plugin has been opened by its host.
func (provider) Initialize(cloudprovider.ControllerClientBuilder, <-chan struct{}) {}

// LoadBalancer implements cloudprovider.Interface.
func (p provider) LoadBalancer() (cloudprovider.LoadBalancer, bool) {
	return balancers{p.services.LoadBalancers}, p.services.LoadBalancers != nil
}

// Instances implements cloudprovider.Interface; there is InstancesV2.
func (provider) Instances() (cloudprovider.Instances, bool) { return nil, false }

// InstancesV2 implements cloudprovider.Interface.
func (p provider) InstancesV2() (cloudprovider.InstancesV2, bool) {
	return instances{p.services.Instances}, p.services.Instances != nil
}

// Zones implements cloudprovider.Interface; InstancesV2 tells zones.
func (provider) Zones() (cloudprovider.Zones, bool) { return nil, false }

// Clusters implements cloudprovider.Interface; nobody asks for them.
func (provider) Clusters() (cloudprovider.Clusters, bool) { return nil, false }

// Routes implements cloudprovider.Interface.
func (p provider) Routes() (cloudprovider.Routes, bool) {
	return routes{p.services.Routes}, p.services.Routes != nil
}

// ProviderName implements cloudprovider.Interface.
func (p provider) ProviderName() string { return p.services.Provider }

// HasClusterID implements cloudprovider.Interface: what a cluster needs of that is the
// provider's own affair.
func (provider) HasClusterID() bool { return true }

type instances struct{ i sdkcloud.Instances }

// InstanceExists implements cloudprovider.InstancesV2.
func (i instances) InstanceExists(ctx context.Context, node *v1.Node) (bool, error) {
	exists, err := i.i.InstanceExists(ctx, node)
	return exists, meaning(err)
}

// InstanceShutdown implements cloudprovider.InstancesV2.
func (i instances) InstanceShutdown(ctx context.Context, node *v1.Node) (bool, error) {
	shutdown, err := i.i.InstanceShutdown(ctx, node)
	return shutdown, meaning(err)
}

// InstanceMetadata implements cloudprovider.InstancesV2.
func (i instances) InstanceMetadata(ctx context.Context, node *v1.Node) (*cloudprovider.InstanceMetadata, error) {
	m, err := i.i.InstanceMetadata(ctx, node)
	if err != nil {
		return nil, meaning(err)
	}
	return &cloudprovider.InstanceMetadata{
		ProviderID: m.ProviderID, InstanceType: m.InstanceType, Zone: m.Zone, Region: m.Region,
		NodeAddresses: m.Addresses, AdditionalLabels: m.AdditionalLabels,
	}, nil
}

type balancers struct{ b sdkcloud.LoadBalancers }

// GetLoadBalancer implements cloudprovider.LoadBalancer.
func (b balancers) GetLoadBalancer(ctx context.Context, cluster string, service *v1.Service) (*v1.LoadBalancerStatus, bool, error) {
	st, err := b.b.GetLoadBalancer(ctx, cluster, service)
	return st, st != nil, meaning(err)
}

// GetLoadBalancerName implements cloudprovider.LoadBalancer.
func (balancers) GetLoadBalancerName(_ context.Context, _ string, service *v1.Service) string {
	return cloudprovider.DefaultLoadBalancerName(service)
}

// EnsureLoadBalancer implements cloudprovider.LoadBalancer.
func (b balancers) EnsureLoadBalancer(ctx context.Context, cluster string, service *v1.Service, nodes []*v1.Node) (*v1.LoadBalancerStatus, error) {
	st, err := b.b.EnsureLoadBalancer(ctx, cluster, service, nodes)
	return st, meaning(err)
}

// UpdateLoadBalancer implements cloudprovider.LoadBalancer.
func (b balancers) UpdateLoadBalancer(ctx context.Context, cluster string, service *v1.Service, nodes []*v1.Node) error {
	return meaning(b.b.UpdateLoadBalancer(ctx, cluster, service, nodes))
}

// EnsureLoadBalancerDeleted implements cloudprovider.LoadBalancer.
func (b balancers) EnsureLoadBalancerDeleted(ctx context.Context, cluster string, service *v1.Service) error {
	return meaning(b.b.DeleteLoadBalancer(ctx, cluster, service))
}

type routes struct{ r sdkcloud.Routes }

// ListRoutes implements cloudprovider.Routes.
func (r routes) ListRoutes(ctx context.Context, cluster string) ([]*cloudprovider.Route, error) {
	list, err := r.r.ListRoutes(ctx, cluster)
	if err != nil {
		return nil, meaning(err)
	}
	out := make([]*cloudprovider.Route, 0, len(list))
	for _, route := range list {
		out = append(out, &cloudprovider.Route{
			Name: route.Name, TargetNode: types.NodeName(route.TargetNode), DestinationCIDR: route.DestinationCIDR, Blackhole: route.Blackhole,
			TargetNodeAddresses: route.TargetAddresses, EnableNodeAddresses: route.EnableNodeAddresses,
		})
	}
	return out, nil
}

func routeFor(r *cloudprovider.Route) sdkcloud.Route {
	return sdkcloud.Route{
		Name: r.Name, TargetNode: string(r.TargetNode), DestinationCIDR: r.DestinationCIDR, Blackhole: r.Blackhole,
		TargetAddresses: r.TargetNodeAddresses, EnableNodeAddresses: r.EnableNodeAddresses,
	}
}

// CreateRoute implements cloudprovider.Routes.
func (r routes) CreateRoute(ctx context.Context, cluster, nameHint string, route *cloudprovider.Route) error {
	return meaning(r.r.CreateRoute(ctx, cluster, nameHint, routeFor(route)))
}

// DeleteRoute implements cloudprovider.Routes.
func (r routes) DeleteRoute(ctx context.Context, cluster string, route *cloudprovider.Route) error {
	return meaning(r.r.DeleteRoute(ctx, cluster, routeFor(route)))
}
