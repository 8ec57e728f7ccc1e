package cloud

import (
	"context"
	"encoding/json"
	"errors"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	corev1 "k8s.io/api/core/v1"

	"github.com/pintle-dev/pintle/sdk/internal/opened"
	"github.com/pintle-dev/pintle/sdk/plugin"
	pluginv1 "github.com/pintle-dev/pintle/sdk/proto/plugin/v1"
	"github.com/pintle-dev/pintle/sdk/protocol"
)

// Point offers impl as a cloud provider.
func Point(impl Cloud) plugin.Point {
	return protocol.NewPoint(protocol.PointCloud, func(s grpc.ServiceRegistrar, h plugin.Host) {
		pluginv1.RegisterCloudServer(s, &server{impl: impl, host: h})
	})
}

type server struct {
	pluginv1.UnimplementedCloudServer
	impl Cloud
	host plugin.Host
	open opened.Slot[Services]
}

// Open implements pluginv1.CloudServer.
func (s *server) Open(r *pluginv1.OpenCloudRequest, stream grpc.ServerStreamingServer[pluginv1.CloudServices]) error {
	return s.open.Hold(stream.Context(), func(ctx context.Context) (Services, error) {
		env, err := protocol.EnvironmentFromWire(r.GetEnvironment()).Env(s.host.Info(), s.host.Log)
		if err != nil {
			return Services{}, status.Error(codes.InvalidArgument, err.Error())
		}
		services, err := s.impl.Open(ctx, env)
		if err != nil {
			return Services{}, protocol.PluginError(err)
		}
		if services.Provider == "" {
			return Services{}, status.Error(codes.Aborted, "the cloud has no name: Services.Provider is empty")
		}
		return services, nil
	}, func(services Services) error { return stream.Send(offers(services)) })
}

func offers(s Services) *pluginv1.CloudServices {
	return &pluginv1.CloudServices{
		Provider: s.Provider, Instances: s.Instances != nil, LoadBalancers: s.LoadBalancers != nil, Routes: s.Routes != nil,
	}
}

// Services implements pluginv1.CloudServer.
func (s *server) Services(context.Context, *pluginv1.CloudServicesRequest) (*pluginv1.CloudServices, error) {
	services, err := s.open.Get()
	if err != nil {
		return nil, err
	}
	return offers(services), nil
}

func missing(what string) error { return status.Error(codes.Unimplemented, "the cloud has no "+what) }

func (s *server) instances(r *pluginv1.InstanceRequest) (Instances, *corev1.Node, error) {
	services, err := s.open.Get()
	if err != nil {
		return nil, nil, err
	}
	if services.Instances == nil {
		return nil, nil, missing("instances")
	}
	node, err := decode[corev1.Node](r.GetNodeJson(), "node")
	return services.Instances, node, err
}

// InstanceExists implements pluginv1.CloudServer.
func (s *server) InstanceExists(ctx context.Context, r *pluginv1.InstanceRequest) (*pluginv1.InstanceExistsResponse, error) {
	i, node, err := s.instances(r)
	if err != nil {
		return nil, err
	}
	exists, err := i.InstanceExists(ctx, node)
	if err != nil {
		return nil, errorToWire(err)
	}
	return &pluginv1.InstanceExistsResponse{Exists: exists}, nil
}

// InstanceShutdown implements pluginv1.CloudServer.
func (s *server) InstanceShutdown(ctx context.Context, r *pluginv1.InstanceRequest) (*pluginv1.InstanceShutdownResponse, error) {
	i, node, err := s.instances(r)
	if err != nil {
		return nil, err
	}
	shutdown, err := i.InstanceShutdown(ctx, node)
	if err != nil {
		return nil, errorToWire(err)
	}
	return &pluginv1.InstanceShutdownResponse{Shutdown: shutdown}, nil
}

// InstanceMetadata implements pluginv1.CloudServer.
func (s *server) InstanceMetadata(ctx context.Context, r *pluginv1.InstanceRequest) (*pluginv1.InstanceMetadataResponse, error) {
	i, node, err := s.instances(r)
	if err != nil {
		return nil, err
	}
	m, err := i.InstanceMetadata(ctx, node)
	if err != nil {
		return nil, errorToWire(err)
	}
	if m == nil {
		return nil, errorToWire(ErrInstanceNotFound)
	}
	return &pluginv1.InstanceMetadataResponse{
		ProviderId: m.ProviderID, InstanceType: m.InstanceType, Zone: m.Zone, Region: m.Region,
		Addresses: AddressesToWire(m.Addresses), AdditionalLabels: m.AdditionalLabels,
	}, nil
}

func (s *server) balancers(r *pluginv1.LoadBalancerRequest) (LoadBalancers, *corev1.Service, []*corev1.Node, error) {
	services, err := s.open.Get()
	if err != nil {
		return nil, nil, nil, err
	}
	if services.LoadBalancers == nil {
		return nil, nil, nil, missing("load balancers")
	}
	service, err := decode[corev1.Service](r.GetServiceJson(), "service")
	if err != nil {
		return nil, nil, nil, err
	}
	nodes := make([]*corev1.Node, 0, len(r.GetNodesJson()))
	for _, data := range r.GetNodesJson() {
		node, err := decode[corev1.Node](data, "node")
		if err != nil {
			return nil, nil, nil, err
		}
		nodes = append(nodes, node)
	}
	return services.LoadBalancers, service, nodes, nil
}

// balanced makes the answer to a call about a load balancer.
func balanced(st *corev1.LoadBalancerStatus, err error) (*pluginv1.LoadBalancerResponse, error) {
	switch {
	case errors.Is(err, ErrImplementedElsewhere):
		return &pluginv1.LoadBalancerResponse{ImplementedElsewhere: true}, nil
	case err != nil:
		return nil, errorToWire(err)
	case st == nil:
		return &pluginv1.LoadBalancerResponse{}, nil
	}
	data, err := json.Marshal(st)
	if err != nil {
		return nil, protocol.PluginError(err)
	}
	return &pluginv1.LoadBalancerResponse{Exists: true, StatusJson: data}, nil
}

// GetLoadBalancer implements pluginv1.CloudServer.
func (s *server) GetLoadBalancer(ctx context.Context, r *pluginv1.LoadBalancerRequest) (*pluginv1.LoadBalancerResponse, error) {
	b, service, _, err := s.balancers(r)
	if err != nil {
		return nil, err
	}
	return balanced(b.GetLoadBalancer(ctx, r.GetCluster(), service))
}

// EnsureLoadBalancer implements pluginv1.CloudServer.
func (s *server) EnsureLoadBalancer(ctx context.Context, r *pluginv1.LoadBalancerRequest) (*pluginv1.LoadBalancerResponse, error) {
	b, service, nodes, err := s.balancers(r)
	if err != nil {
		return nil, err
	}
	return balanced(b.EnsureLoadBalancer(ctx, r.GetCluster(), service, nodes))
}

// UpdateLoadBalancer implements pluginv1.CloudServer.
func (s *server) UpdateLoadBalancer(ctx context.Context, r *pluginv1.LoadBalancerRequest) (*pluginv1.LoadBalancerResponse, error) {
	b, service, nodes, err := s.balancers(r)
	if err != nil {
		return nil, err
	}
	return balanced(nil, b.UpdateLoadBalancer(ctx, r.GetCluster(), service, nodes))
}

// DeleteLoadBalancer implements pluginv1.CloudServer.
func (s *server) DeleteLoadBalancer(ctx context.Context, r *pluginv1.LoadBalancerRequest) (*pluginv1.LoadBalancerResponse, error) {
	b, service, _, err := s.balancers(r)
	if err != nil {
		return nil, err
	}
	return balanced(nil, b.DeleteLoadBalancer(ctx, r.GetCluster(), service))
}

func (s *server) routes() (Routes, error) {
	services, err := s.open.Get()
	if err != nil {
		return nil, err
	}
	if services.Routes == nil {
		return nil, missing("routes")
	}
	return services.Routes, nil
}

// ListRoutes implements pluginv1.CloudServer.
func (s *server) ListRoutes(ctx context.Context, r *pluginv1.ListRoutesRequest) (*pluginv1.ListRoutesResponse, error) {
	routes, err := s.routes()
	if err != nil {
		return nil, err
	}
	list, err := routes.ListRoutes(ctx, r.GetCluster())
	if err != nil {
		return nil, errorToWire(err)
	}
	out := &pluginv1.ListRoutesResponse{}
	for _, route := range list {
		out.Routes = append(out.Routes, RouteToWire(route))
	}
	return out, nil
}

// CreateRoute implements pluginv1.CloudServer.
func (s *server) CreateRoute(ctx context.Context, r *pluginv1.CreateRouteRequest) (*pluginv1.CreateRouteResponse, error) {
	routes, err := s.routes()
	if err != nil {
		return nil, err
	}
	if err := routes.CreateRoute(ctx, r.GetCluster(), r.GetNameHint(), RouteFromWire(r.GetRoute())); err != nil {
		return nil, errorToWire(err)
	}
	return &pluginv1.CreateRouteResponse{}, nil
}

// DeleteRoute implements pluginv1.CloudServer.
func (s *server) DeleteRoute(ctx context.Context, r *pluginv1.DeleteRouteRequest) (*pluginv1.DeleteRouteResponse, error) {
	routes, err := s.routes()
	if err != nil {
		return nil, err
	}
	if err := routes.DeleteRoute(ctx, r.GetCluster(), RouteFromWire(r.GetRoute())); err != nil {
		return nil, errorToWire(err)
	}
	return &pluginv1.DeleteRouteResponse{}, nil
}
