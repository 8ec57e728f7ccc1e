package serve

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"

	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/pintle-dev/pintle/sdk/controller"
	"github.com/pintle-dev/pintle/sdk/kms"
	"github.com/pintle-dev/pintle/sdk/network"
	"github.com/pintle-dev/pintle/sdk/plugin"
	pluginv1 "github.com/pintle-dev/pintle/sdk/proto/plugin/v1"
	"github.com/pintle-dev/pintle/sdk/protocol"
	"github.com/pintle-dev/pintle/sdk/resource"
	"github.com/pintle-dev/pintle/sdk/scheduler"
)

// Register puts impl's services on a gRPC server. Serve does so for a plugin process;
// the harness in plugintest for a server in the test's own process.
func Register(s grpc.ServiceRegistrar, impl plugin.Plugin, log *slog.Logger) {
	base := &baseServer{impl: impl}
	pluginv1.RegisterBaseServer(s, base)
	if c, ok := impl.(controller.Controller); ok {
		pluginv1.RegisterControllerServer(s, &controllerServer{impl: c, runner: runner{impl: impl, log: log}})
	}
	if c, ok := impl.(scheduler.Scheduler); ok {
		pluginv1.RegisterSchedulerServer(s, &schedulerServer{impl: c, runner: runner{impl: impl, log: log}})
	}
	if n, ok := impl.(network.Network); ok {
		pluginv1.RegisterNetworkServer(s, &networkServer{impl: n, log: log})
	}
	if b, ok := impl.(resource.Bundle); ok {
		pluginv1.RegisterResourceServer(s, &resourceServer{impl: b})
	}
	if k, ok := impl.(kms.KeyManager); ok {
		pluginv1.RegisterKeyManagerServer(s, &keyManagerServer{impl: k})
	}
}

// pointsOf lists the extension points that impl implements.
func pointsOf(impl plugin.Plugin) []protocol.Point {
	var out []protocol.Point
	if _, ok := impl.(controller.Controller); ok {
		out = append(out, protocol.PointController)
	}
	if _, ok := impl.(scheduler.Scheduler); ok {
		out = append(out, protocol.PointScheduler)
	}
	if _, ok := impl.(network.Network); ok {
		out = append(out, protocol.PointNetwork)
	}
	if _, ok := impl.(resource.Bundle); ok {
		out = append(out, protocol.PointResource)
	}
	if _, ok := impl.(kms.KeyManager); ok {
		out = append(out, protocol.PointKeyManager)
	}
	return out
}

// GRPCServer implements goplugin.GRPCPlugin.
func (p *grpcPlugin) GRPCServer(_ *goplugin.GRPCBroker, s *grpc.Server) error {
	Register(s, p.impl, p.log)
	return nil
}

// GRPCClient implements goplugin.GRPCPlugin; the host has a plugin set of its own.
func (p *grpcPlugin) GRPCClient(context.Context, *goplugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, errors.New("a plugin process is not a host")
}

type baseServer struct {
	pluginv1.UnimplementedBaseServer
	impl plugin.Plugin
}

func (s *baseServer) Info(context.Context, *pluginv1.InfoRequest) (*pluginv1.InfoResponse, error) {
	out := protocol.InfoToWire(s.impl.Info())
	versions := protocol.PointVersions()
	for _, p := range pointsOf(s.impl) {
		out.Points = append(out.Points, &pluginv1.ExtensionPoint{Name: string(p), Versions: versions[p]})
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
	return &pluginv1.ConfigureResponse{}, nil
}

// runStream is the server's side of a Run or Schedule stream.
type runStream = grpc.BidiStreamingServer[pluginv1.RunRequest, pluginv1.RunResponse]

// runner serves work that runs until it is told to stop.
type runner struct {
	impl    plugin.Plugin
	log     *slog.Logger
	started atomic.Bool
}

func (r *runner) run(stream runStream, work func(context.Context, plugin.Env) error) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	start := first.GetStart()
	if start == nil {
		return status.Error(codes.InvalidArgument, "the first message of a run must be start")
	}
	if !r.started.CompareAndSwap(false, true) {
		return status.Error(codes.FailedPrecondition, "the plugin was already started in this process")
	}
	env, err := protocol.EnvironmentFromWire(start).Env(r.impl.Info(), r.log)
	if err != nil {
		return status.Error(codes.InvalidArgument, err.Error())
	}
	ctx, cancel := context.WithCancel(stream.Context())
	defer cancel()
	go func() {
		defer cancel()
		for {
			if m, err := stream.Recv(); err != nil || m.GetStop() != nil {
				return
			}
		}
	}()
	if err := stream.Send(&pluginv1.RunResponse{
		Message: &pluginv1.RunResponse_Running{Running: &pluginv1.Running{}},
	}); err != nil {
		return err
	}
	err = work(ctx, env)
	switch {
	case ctx.Err() != nil && (err == nil || errors.Is(err, context.Canceled)):
		return nil
	case err != nil:
		return status.Error(codes.Aborted, err.Error())
	default:
		return status.Error(codes.Aborted, "it returned without having been told to stop")
	}
}

type controllerServer struct {
	pluginv1.UnimplementedControllerServer
	runner
	impl controller.Controller
}

func (s *controllerServer) Run(stream runStream) error { return s.run(stream, s.impl.Run) }

type schedulerServer struct {
	pluginv1.UnimplementedSchedulerServer
	runner
	impl scheduler.Scheduler
}

func (s *schedulerServer) SchedulerNames(context.Context, *pluginv1.SchedulerNamesRequest) (*pluginv1.SchedulerNamesResponse, error) {
	return &pluginv1.SchedulerNamesResponse{Names: s.impl.SchedulerNames()}, nil
}

func (s *schedulerServer) Schedule(stream runStream) error { return s.run(stream, s.impl.Schedule) }
