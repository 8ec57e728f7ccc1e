package serve

import (
	"context"
	"errors"
	"log/slog"
	"slices"

	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/pintle-dev/pintle/sdk/internal/calls"
	"github.com/pintle-dev/pintle/sdk/plugin"
	pluginv1 "github.com/pintle-dev/pintle/sdk/proto/plugin/v1"
	"github.com/pintle-dev/pintle/sdk/protocol"
)

// Register puts impl's services on a gRPC server. Serve does so for a plugin process;
// the harness in plugintest for a server in the test's own process.
func Register(s grpc.ServiceRegistrar, impl plugin.Plugin, points []plugin.Point, log *slog.Logger) {
	_, lines := s.(calls.Beside)
	pluginv1.RegisterBaseServer(s, &baseServer{impl: impl, points: points, log: log, lines: lines})
	for _, p := range points {
		p.Register(s, plugin.Host{Info: impl.Info, Log: log})
	}
}

// GRPCServer implements goplugin.GRPCPlugin.
func (p *grpcPlugin) GRPCServer(_ *goplugin.GRPCBroker, s *grpc.Server) error {
	accept := calls.Inherited()
	if accept == nil || !slices.ContainsFunc(p.points, func(p plugin.Point) bool { return protocol.OverLines(p.Name) }) {
		Register(s, p.impl, p.points, p.log)
		return nil
	}
	lines := &calls.LineServer{}
	Register(calls.Beside{ServiceRegistrar: s, Lines: lines}, p.impl, p.points, p.log)
	go func() { _ = lines.Serve(context.Background(), accept) }() // it ends with the host
	return nil
}

// GRPCClient implements goplugin.GRPCPlugin; the host has a plugin set of its own.
func (p *grpcPlugin) GRPCClient(context.Context, *goplugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, errors.New("a plugin process is not a host")
}

type baseServer struct {
	pluginv1.UnimplementedBaseServer
	impl   plugin.Plugin
	points []plugin.Point
	log    *slog.Logger
	lines  bool // calls may come over lines
}

func (s *baseServer) Info(context.Context, *pluginv1.InfoRequest) (*pluginv1.InfoResponse, error) {
	out := protocol.InfoToWire(s.impl.Info())
	for _, p := range s.points {
		capabilities := p.Capabilities
		if s.lines && protocol.OverLines(p.Name) {
			capabilities = append(slices.Clone(capabilities), protocol.CapabilityLine)
		}
		out.Points = append(out.Points, &pluginv1.ExtensionPoint{
			Name: string(p.Name), Versions: p.Versions, Capabilities: capabilities,
		})
	}
	return out, nil
}

func (s *baseServer) ConfigSchema(context.Context, *pluginv1.ConfigSchemaRequest) (*pluginv1.ConfigSchemaResponse, error) {
	return &pluginv1.ConfigSchemaResponse{Schema: s.impl.ConfigSchema()}, nil
}

func (s *baseServer) Configure(ctx context.Context, r *pluginv1.ConfigureRequest) (*pluginv1.ConfigureResponse, error) {
	if err := s.impl.Configure(ctx, r.GetSettings()); err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	if reacher, ok := s.impl.(plugin.Reacher); ok && r.GetEnvironment() != nil {
		env, err := protocol.EnvironmentFromWire(r.GetEnvironment()).Env(s.impl.Info(), s.log)
		if err != nil {
			return nil, status.Error(codes.InvalidArgument, err.Error())
		}
		if err := reacher.Reach(ctx, env); err != nil {
			return nil, protocol.PluginError(err)
		}
	}
	return &pluginv1.ConfigureResponse{}, nil
}
