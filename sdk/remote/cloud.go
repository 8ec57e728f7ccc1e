package remote

import (
	"context"
	"encoding/json"
	"fmt"

	"google.golang.org/grpc"
	corev1 "k8s.io/api/core/v1"

	"github.com/pintle-dev/pintle/sdk/cloud"
	pluginv1 "github.com/pintle-dev/pintle/sdk/proto/plugin/v1"
	"github.com/pintle-dev/pintle/sdk/protocol"
)

// Cloud is a cloud provider on the other end of a connection.
type Cloud struct {
	c      *Client
	client pluginv1.CloudClient
}

// Cloud returns the plugin as a cloud provider, where it is one.
func (c *Client) Cloud() (*Cloud, bool) {
	return &Cloud{c: c, client: pluginv1.NewCloudClient(c.conn)}, c.offers(protocol.PointCloud)
}

// Open opens the provider until ctx is done. gone is closed when it no longer is.
func (p *Cloud) Open(ctx context.Context) (services cloud.Services, gone <-chan struct{}, err error) {
	env, err := p.c.environment()
	if err != nil {
		return services, nil, err
	}
	stream, err := p.client.Open(ctx, &pluginv1.OpenCloudRequest{Environment: env})
	if err != nil {
		return services, nil, unwire(err)
	}
	first, err := stream.Recv()
	if err != nil {
		return services, nil, opening(err)
	}
	return cloudServices(p.client, first), ended(stream.Recv), nil
}

// CloudServices returns what a provider offers that its host has opened, over a connection to
// it such as one of package peers.
func CloudServices(ctx context.Context, conn grpc.ClientConnInterface) (cloud.Services, error) {
	client := pluginv1.NewCloudClient(conn)
	r, err := client.Services(ctx, &pluginv1.CloudServicesRequest{})
	if err != nil {
		return cloud.Services{}, unwire(err)
	}
	return cloudServices(client, r), nil
}

func cloudServices(client pluginv1.CloudClient, r *pluginv1.CloudServices) cloud.Services {
	out := cloud.Services{Provider: r.GetProvider()}
	if r.GetInstances() {
		out.Instances = remoteInstances{client}
	}
	if r.GetLoadBalancers() {
		out.LoadBalancers = remoteBalancers{client}
	}
	if r.GetRoutes() {
		out.Routes = remoteRoutes{client}
	}
	return out
}

// cloudError returns a provider's error as it meant it.
func cloudError(err error) error {
	if err == nil {
		return nil
	}
	if meant := cloud.ErrorFromWire(err); meant != nil {
		return meant
	}
	return unwire(err)
}

// trimmed encodes a node without what no cloud needs and makes most of it.
func trimmed(n *corev1.Node) ([]byte, error) {
	short := *n
	short.ManagedFields, short.Status.Images = nil, nil
	data, err := json.Marshal(&short)
	if err != nil {
		return nil, fmt.Errorf("node %s: %w", n.Name, err)
	}
	return data, nil
}

type remoteInstances struct{ client pluginv1.CloudClient }

// InstanceExists implements cloud.Instances.
func (i remoteInstances) InstanceExists(ctx context.Context, node *corev1.Node) (bool, error) {
	data, err := trimmed(node)
	if err != nil {
		return false, err
	}
	r, err := i.client.InstanceExists(ctx, &pluginv1.InstanceRequest{NodeJson: data})
	return r.GetExists(), cloudError(err)
}

// InstanceShutdown implements cloud.Instances.
func (i remoteInstances) InstanceShutdown(ctx context.Context, node *corev1.Node) (bool, error) {
	data, err := trimmed(node)
	if err != nil {
		return false, err
	}
	r, err := i.client.InstanceShutdown(ctx, &pluginv1.InstanceRequest{NodeJson: data})
	return r.GetShutdown(), cloudError(err)
}

// InstanceMetadata implements cloud.Instances.
func (i remoteInstances) InstanceMetadata(ctx context.Context, node *corev1.Node) (*cloud.InstanceMetadata, error) {
	data, err := trimmed(node)
	if err != nil {
		return nil, err
	}
	r, err := i.client.InstanceMetadata(ctx, &pluginv1.InstanceRequest{NodeJson: data})
	if err != nil {
		return nil, cloudError(err)
	}
	return &cloud.InstanceMetadata{
		ProviderID: r.GetProviderId(), InstanceType: r.GetInstanceType(), Zone: r.GetZone(), Region: r.GetRegion(),
		Addresses: cloud.AddressesFromWire(r.GetAddresses()), AdditionalLabels: r.GetAdditionalLabels(),
	}, nil
}

type remoteBalancers struct{ client pluginv1.CloudClient }

func balancerRequest(cluster string, service *corev1.Service, nodes []*corev1.Node) (*pluginv1.LoadBalancerRequest, error) {
	data, err := json.Marshal(service)
	if err != nil {
		return nil, fmt.Errorf("service %s/%s: %w", service.Namespace, service.Name, err)
	}
	r := &pluginv1.LoadBalancerRequest{Cluster: cluster, ServiceJson: data}
	for _, n := range nodes {
		data, err := trimmed(n)
		if err != nil {
			return nil, err
		}
		r.NodesJson = append(r.NodesJson, data)
	}
	return r, nil
}

// call makes one call about a load balancer.
func (b remoteBalancers) call(
	ctx context.Context, cluster string, service *corev1.Service, nodes []*corev1.Node,
	f func(context.Context, *pluginv1.LoadBalancerRequest, ...grpc.CallOption) (*pluginv1.LoadBalancerResponse, error),
) (*corev1.LoadBalancerStatus, error) {
	r, err := balancerRequest(cluster, service, nodes)
	if err != nil {
		return nil, err
	}
	answer, err := f(ctx, r)
	switch {
	case err != nil:
		return nil, cloudError(err)
	case answer.GetImplementedElsewhere():
		return nil, cloud.ErrImplementedElsewhere
	case !answer.GetExists():
		return nil, nil //nolint:nilnil // there is no load balancer, as the interface says
	}
	st := &corev1.LoadBalancerStatus{}
	if err := json.Unmarshal(answer.GetStatusJson(), st); err != nil {
		return nil, fmt.Errorf("the status of a load balancer is not valid: %w", err)
	}
	return st, nil
}

// GetLoadBalancer implements cloud.LoadBalancers.
func (b remoteBalancers) GetLoadBalancer(ctx context.Context, cluster string, service *corev1.Service) (*corev1.LoadBalancerStatus, error) {
	return b.call(ctx, cluster, service, nil, b.client.GetLoadBalancer)
}

// EnsureLoadBalancer implements cloud.LoadBalancers.
func (b remoteBalancers) EnsureLoadBalancer(ctx context.Context, cluster string, service *corev1.Service, nodes []*corev1.Node) (*corev1.LoadBalancerStatus, error) {
	st, err := b.call(ctx, cluster, service, nodes, b.client.EnsureLoadBalancer)
	if err == nil && st == nil {
		return nil, fmt.Errorf("the cloud made a load balancer for service %s/%s and gave no status", service.Namespace, service.Name)
	}
	return st, err
}

// UpdateLoadBalancer implements cloud.LoadBalancers.
func (b remoteBalancers) UpdateLoadBalancer(ctx context.Context, cluster string, service *corev1.Service, nodes []*corev1.Node) error {
	_, err := b.call(ctx, cluster, service, nodes, b.client.UpdateLoadBalancer)
	return err
}

// DeleteLoadBalancer implements cloud.LoadBalancers.
func (b remoteBalancers) DeleteLoadBalancer(ctx context.Context, cluster string, service *corev1.Service) error {
	_, err := b.call(ctx, cluster, service, nil, b.client.DeleteLoadBalancer)
	return err
}

type remoteRoutes struct{ client pluginv1.CloudClient }

// ListRoutes implements cloud.Routes.
func (r remoteRoutes) ListRoutes(ctx context.Context, cluster string) ([]cloud.Route, error) {
	list, err := r.client.ListRoutes(ctx, &pluginv1.ListRoutesRequest{Cluster: cluster})
	if err != nil {
		return nil, cloudError(err)
	}
	out := make([]cloud.Route, 0, len(list.GetRoutes()))
	for _, route := range list.GetRoutes() {
		out = append(out, cloud.RouteFromWire(route))
	}
	return out, nil
}

// CreateRoute implements cloud.Routes.
func (r remoteRoutes) CreateRoute(ctx context.Context, cluster, nameHint string, route cloud.Route) error {
	_, err := r.client.CreateRoute(ctx, &pluginv1.CreateRouteRequest{Cluster: cluster, NameHint: nameHint, Route: cloud.RouteToWire(route)})
	return cloudError(err)
}

// DeleteRoute implements cloud.Routes.
func (r remoteRoutes) DeleteRoute(ctx context.Context, cluster string, route cloud.Route) error {
	_, err := r.client.DeleteRoute(ctx, &pluginv1.DeleteRouteRequest{Cluster: cluster, Route: cloud.RouteToWire(route)})
	return cloudError(err)
}
