package serve

import (
	"context"
	"log/slog"
	"sync"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/pintle-dev/pintle/sdk/network"
	pluginv1 "github.com/pintle-dev/pintle/sdk/proto/plugin/v1"
	"github.com/pintle-dev/pintle/sdk/protocol"
)

type networkServer struct {
	pluginv1.UnimplementedNetworkServer
	impl network.Network
	log  *slog.Logger

	mu    sync.Mutex
	stops []context.CancelFunc // of Setup's contexts
}

func (s *networkServer) Setup(ctx context.Context, r *pluginv1.SetupRequest) (*pluginv1.SetupResponse, error) {
	env, err := protocol.EnvironmentFromWire(r.GetEnvironment()).Env(s.impl.Info(), s.log)
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
	if err := s.impl.Setup(life, env, protocol.NodeFromWire(r.GetNode())); err != nil {
		stop()
		return nil, wireError(err)
	}
	return &pluginv1.SetupResponse{}, nil
}

func (s *networkServer) Attach(ctx context.Context, r *pluginv1.AttachRequest) (*pluginv1.AttachResponse, error) {
	res, err := s.impl.Attach(ctx, protocol.PodFromWire(r.GetPod()))
	if err != nil {
		return nil, wireError(err)
	}
	return &pluginv1.AttachResponse{Ips: res.IPs, Interface: res.Interface}, nil
}

func (s *networkServer) Detach(ctx context.Context, r *pluginv1.DetachRequest) (*pluginv1.DetachResponse, error) {
	if err := s.impl.Detach(ctx, protocol.PodFromWire(r.GetPod())); err != nil {
		return nil, wireError(err)
	}
	return &pluginv1.DetachResponse{}, nil
}

func (s *networkServer) Check(ctx context.Context, r *pluginv1.CheckRequest) (*pluginv1.CheckResponse, error) {
	if err := s.impl.Check(ctx, protocol.PodFromWire(r.GetPod())); err != nil {
		return nil, wireError(err)
	}
	return &pluginv1.CheckResponse{}, nil
}

func (s *networkServer) Teardown(ctx context.Context, _ *pluginv1.TeardownRequest) (*pluginv1.TeardownResponse, error) {
	err := s.impl.Teardown(ctx)
	s.mu.Lock()
	stops := s.stops
	s.stops = nil
	s.mu.Unlock()
	for _, stop := range stops {
		stop()
	}
	if err != nil {
		return nil, wireError(err)
	}
	return &pluginv1.TeardownResponse{}, nil
}

// wireError keeps a plugin's own error apart from the transport's: it has code ABORTED.
func wireError(err error) error { return status.Error(codes.Aborted, err.Error()) }
