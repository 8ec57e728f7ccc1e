package protocol

import (
	"context"
	"errors"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/pintle-dev/pintle/sdk/plugin"
	pluginv1 "github.com/pintle-dev/pintle/sdk/proto/plugin/v1"
)

// PluginError keeps a plugin's own error apart from the transport's: it has code ABORTED.
func PluginError(err error) error { return status.Error(codes.Aborted, err.Error()) }

// RunStream is the plugin's end of a Run or Schedule stream.
type RunStream = grpc.BidiStreamingServer[pluginv1.RunRequest, pluginv1.RunResponse]

// Runner serves work that runs until it is told to stop, once per process.
type Runner struct {
	Host    plugin.Host
	started atomic.Bool
}

// Run serves one stream.
func (r *Runner) Run(stream RunStream, work func(context.Context, plugin.Env) error) error {
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
	env, err := EnvironmentFromWire(start).Env(r.Host.Info(), r.Host.Log)
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
		return PluginError(err)
	default:
		return status.Error(codes.Aborted, "it returned without having been told to stop")
	}
}
