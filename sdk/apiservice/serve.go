package apiservice

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/pintle-dev/pintle/sdk/internal/opened"
	"github.com/pintle-dev/pintle/sdk/internal/tunnel"
	"github.com/pintle-dev/pintle/sdk/plugin"
	pluginv1 "github.com/pintle-dev/pintle/sdk/proto/plugin/v1"
	"github.com/pintle-dev/pintle/sdk/protocol"
)

// Point offers impl as an API service.
func Point(impl APIService) plugin.Point {
	return protocol.NewPoint(protocol.PointAPIService, func(s grpc.ServiceRegistrar, h plugin.Host) {
		pluginv1.RegisterAPIServiceServer(s, &server{impl: impl, host: h})
	})
}

type server struct {
	pluginv1.UnimplementedAPIServiceServer
	impl APIService
	host plugin.Host
	open opened.Slot[*Server]
}

// Open implements pluginv1.APIServiceServer.
func (s *server) Open(r *pluginv1.OpenAPIServiceRequest, stream grpc.ServerStreamingServer[pluginv1.OpenAPIServiceResponse]) error {
	var serving *Server
	defer func() {
		if serving != nil {
			serving.Close()
		}
	}()
	return s.open.Hold(stream.Context(), func(ctx context.Context) (*Server, error) {
		env, err := protocol.EnvironmentFromWire(r.GetEnvironment()).Env(s.host.Info(), s.host.Log)
		if err != nil {
			return nil, status.Error(codes.InvalidArgument, err.Error())
		}
		handler, err := s.impl.Serve(ctx, env)
		if err != nil {
			return nil, protocol.PluginError(err)
		}
		serving = NewServer(handler)
		return serving, nil
	}, func(*Server) error {
		out := &pluginv1.OpenAPIServiceResponse{}
		for _, gv := range s.impl.GroupVersions() {
			out.GroupVersions = append(out.GroupVersions, &pluginv1.APIGroupVersion{
				Group: gv.Group, Version: gv.Version, GroupPriority: gv.GroupPriority, VersionPriority: gv.VersionPriority,
			})
		}
		return stream.Send(out)
	})
}

// Connect implements pluginv1.APIServiceServer.
func (s *server) Connect(stream grpc.BidiStreamingServer[pluginv1.Bytes, pluginv1.Bytes]) error {
	serving, err := s.open.Get()
	if err != nil {
		return err
	}
	conn, err := serving.Dial(stream.Context())
	if err != nil {
		return status.Error(codes.FailedPrecondition, err.Error())
	}
	// Returning ends the stream, and with it what still waits to receive.
	ended := make(chan struct{})
	go tunnel.Join(stream, conn, func() { close(ended) })
	<-ended
	return nil
}
