package scheduler

import (
	"context"

	"google.golang.org/grpc"

	"github.com/pintle-dev/pintle/sdk/plugin"
	pluginv1 "github.com/pintle-dev/pintle/sdk/proto/plugin/v1"
	"github.com/pintle-dev/pintle/sdk/protocol"
)

// Point offers impl as a scheduler.
func Point(impl Scheduler) plugin.Point {
	return protocol.NewPoint(protocol.PointScheduler, func(s grpc.ServiceRegistrar, h plugin.Host) {
		pluginv1.RegisterSchedulerServer(s, &server{impl: impl, runner: protocol.Runner{Host: h}})
	})
}

type server struct {
	pluginv1.UnimplementedSchedulerServer
	runner protocol.Runner
	impl   Scheduler
}

// SchedulerNames implements pluginv1.SchedulerServer.
func (s *server) SchedulerNames(context.Context, *pluginv1.SchedulerNamesRequest) (*pluginv1.SchedulerNamesResponse, error) {
	return &pluginv1.SchedulerNamesResponse{Names: s.impl.SchedulerNames()}, nil
}

// Schedule implements pluginv1.SchedulerServer.
func (s *server) Schedule(stream protocol.RunStream) error {
	return s.runner.Run(stream, s.impl.Schedule)
}
