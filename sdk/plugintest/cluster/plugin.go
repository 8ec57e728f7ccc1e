package cluster

import (
	"context"
	"fmt"
	"log/slog"
	"net"

	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/test/bufconn"

	"github.com/pintle-dev/pintle/core/host"
	"github.com/pintle-dev/pintle/sdk/plugin"
	"github.com/pintle-dev/pintle/sdk/points"
	"github.com/pintle-dev/pintle/sdk/protocol"
	"github.com/pintle-dev/pintle/sdk/serve"
)

// pipeBytes is what one end may write before the other reads.
const pipeBytes = 1 << 20

// points are those that the plugin offers, as far as is known before it runs.
func (p *Plugin) points() []plugin.Point {
	switch named := p.Impl.(type) {
	case nil:
		return nil
	case interface{ Points() []plugin.Point }:
		if p.Points == nil {
			return named.Points()
		}
	}
	if p.Points == nil {
		return points.Of(p.Impl)
	}
	return p.Points
}

// dial serves the plugin anew for each of its lives, as each process has a server of its own.
func (p *Plugin) dial(log *slog.Logger) host.Dial {
	impl, offered := p.Impl, p.points()
	log = log.With("plugin", impl.Info().Name)
	return func(context.Context) (*grpc.ClientConn, func(), error) {
		listener := bufconn.Listen(pipeBytes)
		server := grpc.NewServer(serve.ServerOptions()...)
		serve.Register(server, impl, offered, log)
		alive := health.NewServer()
		alive.SetServingStatus(goplugin.GRPCServiceName, grpc_health_v1.HealthCheckResponse_SERVING)
		grpc_health_v1.RegisterHealthServer(server, alive)
		served := make(chan struct{})
		go func() {
			defer close(served)
			if err := server.Serve(listener); err != nil {
				log.Error("the plugin is served no more", "error", err)
			}
		}()
		end := func() {
			server.Stop()
			<-served
		}
		conn, err := grpc.NewClient("passthrough:plugin",
			grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }),
			grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithDefaultCallOptions(
				grpc.MaxCallRecvMsgSize(protocol.MaxMessageBytes), grpc.MaxCallSendMsgSize(protocol.MaxMessageBytes),
			))
		if err != nil {
			end()
			return nil, nil, fmt.Errorf("connect to the plugin: %w", err)
		}
		return conn, end, nil
	}
}
