package network

import (
	"context"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/pintle-dev/pintle/sdk/plugin"
	pluginv1 "github.com/pintle-dev/pintle/sdk/proto/plugin/v1"
	"github.com/pintle-dev/pintle/sdk/protocol"
)

// Point offers impl as a network.
func Point(impl Network) plugin.Point {
	return protocol.NewPoint(protocol.PointNetwork, func(s grpc.ServiceRegistrar, h plugin.Host) {
		pluginv1.RegisterNetworkServer(s, &server{impl: impl, host: h})
	})
}

type server struct {
	pluginv1.UnimplementedNetworkServer
	impl Network
	host plugin.Host

	mu    sync.Mutex
	stops []context.CancelFunc // of Setup's contexts
}

func (s *server) Setup(ctx context.Context, r *pluginv1.SetupRequest) (*pluginv1.SetupResponse, error) {
	env, err := protocol.EnvironmentFromWire(r.GetEnvironment()).Env(s.host.Info(), s.host.Log)
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	// Background work that Setup starts lives until Teardown, while the call itself can
	// be cancelled for as long as it runs.
	life, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.mu.Lock()
	s.stops = append(s.stops, stop)
	s.mu.Unlock()
	detach := context.AfterFunc(ctx, stop)
	defer detach()
	if err := s.impl.Setup(life, env, nodeFromWire(r.GetNode())); err != nil {
		stop()
		return nil, protocol.PluginError(err)
	}
	return &pluginv1.SetupResponse{}, nil
}

func (s *server) Attach(ctx context.Context, r *pluginv1.AttachRequest) (*pluginv1.AttachResponse, error) {
	res, err := s.impl.Attach(ctx, podFromWire(r.GetPod()))
	if err != nil {
		return nil, protocol.PluginError(err)
	}
	return &pluginv1.AttachResponse{Ips: res.IPs, Interface: res.Interface}, nil
}

func (s *server) Detach(ctx context.Context, r *pluginv1.DetachRequest) (*pluginv1.DetachResponse, error) {
	if err := s.impl.Detach(ctx, podFromWire(r.GetPod())); err != nil {
		return nil, protocol.PluginError(err)
	}
	return &pluginv1.DetachResponse{}, nil
}

func (s *server) Check(ctx context.Context, r *pluginv1.CheckRequest) (*pluginv1.CheckResponse, error) {
	if err := s.impl.Check(ctx, podFromWire(r.GetPod())); err != nil {
		return nil, protocol.PluginError(err)
	}
	return &pluginv1.CheckResponse{}, nil
}

func (s *server) Teardown(ctx context.Context, _ *pluginv1.TeardownRequest) (*pluginv1.TeardownResponse, error) {
	err := s.impl.Teardown(ctx)
	s.mu.Lock()
	stops := s.stops
	s.stops = nil
	s.mu.Unlock()
	for _, stop := range stops {
		stop()
	}
	if err != nil {
		return nil, protocol.PluginError(err)
	}
	return &pluginv1.TeardownResponse{}, nil
}

// nodeFromWire converts what a network plugin is told about its node.
func nodeFromWire(n *pluginv1.NetworkNode) Node {
	return Node{Name: n.GetName(), PodCIDRs: n.GetPodCidrs(), Addresses: n.GetAddresses()}
}

// podFromWire converts a pod sandbox.
func podFromWire(p *pluginv1.NetworkPod) Pod {
	out := Pod{
		Namespace: p.GetNamespace(), Name: p.GetName(), UID: p.GetUid(),
		SandboxID: p.GetSandboxId(), NetNS: p.GetNetns(), Annotations: p.GetAnnotations(),
	}
	for _, m := range p.GetPorts() {
		out.Ports = append(out.Ports, PortMapping{
			HostPort: m.GetHostPort(), ContainerPort: m.GetContainerPort(),
			Protocol: m.GetProtocol(), HostIP: m.GetHostIp(),
		})
	}
	return out
}
