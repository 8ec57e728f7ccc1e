package controller

import (
	"google.golang.org/grpc"

	"github.com/pintle-dev/pintle/sdk/plugin"
	pluginv1 "github.com/pintle-dev/pintle/sdk/proto/plugin/v1"
	"github.com/pintle-dev/pintle/sdk/protocol"
)

// Point offers impl as a controller.
func Point(impl Controller) plugin.Point {
	return protocol.NewPoint(protocol.PointController, func(s grpc.ServiceRegistrar, h plugin.Host) {
		pluginv1.RegisterControllerServer(s, &server{impl: impl, runner: protocol.Runner{Host: h}})
	})
}

type server struct {
	pluginv1.UnimplementedControllerServer
	runner protocol.Runner
	impl   Controller
}

// Run implements pluginv1.ControllerServer.
func (s *server) Run(stream protocol.RunStream) error { return s.runner.Run(stream, s.impl.Run) }
