package remote

import (
	"context"
	"errors"
	"fmt"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/pintle-dev/pintle/sdk/controller"
	"github.com/pintle-dev/pintle/sdk/plugin"
	pluginv1 "github.com/pintle-dev/pintle/sdk/proto/plugin/v1"
	"github.com/pintle-dev/pintle/sdk/protocol"
	"github.com/pintle-dev/pintle/sdk/scheduler"
)

// Controller returns the plugin as a controller, where it is one.
func (c *Client) Controller() (controller.Controller, bool) {
	return runningController{c}, c.offers(protocol.PointController)
}

// Scheduler returns the plugin as a scheduler, where it is one. The names it serves are
// asked for here.
func (c *Client) Scheduler(ctx context.Context) (scheduler.Scheduler, bool, error) {
	if !c.offers(protocol.PointScheduler) {
		return nil, false, nil
	}
	client := pluginv1.NewSchedulerClient(c.conn)
	names, err := client.SchedulerNames(ctx, &pluginv1.SchedulerNamesRequest{})
	if err != nil {
		return nil, true, fmt.Errorf("scheduler names: %w", unwire(err))
	}
	return runningScheduler{Client: c, names: names.GetNames()}, true, nil
}

type runningController struct{ *Client }

// Run implements controller.Controller.
func (r runningController) Run(ctx context.Context, _ plugin.Env) error {
	return r.run(ctx, func(ctx context.Context) (runStream, error) {
		return pluginv1.NewControllerClient(r.conn).Run(ctx)
	})
}

type runningScheduler struct {
	*Client
	names []string
}

// SchedulerNames implements scheduler.Scheduler.
func (r runningScheduler) SchedulerNames() []string { return r.names }

// Schedule implements scheduler.Scheduler.
func (r runningScheduler) Schedule(ctx context.Context, _ plugin.Env) error {
	return r.run(ctx, func(ctx context.Context) (runStream, error) {
		return pluginv1.NewSchedulerClient(r.conn).Schedule(ctx)
	})
}

type runStream = grpc.BidiStreamingClient[pluginv1.RunRequest, pluginv1.RunResponse]

// run holds a Run stream until the work has ended. When ctx is done the plugin is asked
// to stop; run returns when it has, however long that takes: who cannot wait closes the
// connection.
func (c *Client) run(ctx context.Context, open func(context.Context) (runStream, error)) error {
	env, err := c.environment()
	if err != nil {
		return err
	}
	streamCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	stream, err := open(streamCtx)
	if err != nil {
		return unwire(err)
	}
	if err := stream.Send(&pluginv1.RunRequest{Message: &pluginv1.RunRequest_Start{Start: env}}); err != nil && !errors.Is(err, io.EOF) {
		return unwire(err)
	}
	ended := make(chan struct{})
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		select {
		case <-ctx.Done():
			// A failure to send shows as an error of Recv below.
			_ = stream.Send(&pluginv1.RunRequest{Message: &pluginv1.RunRequest_Stop{Stop: &pluginv1.Stop{}}})
			_ = stream.CloseSend()
		case <-ended:
		}
	}()
	defer func() {
		close(ended)
		<-stopped
	}()
	for {
		m, err := stream.Recv()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case status.Code(err) == codes.Canceled && ctx.Err() == nil:
			return fmt.Errorf("the plugin's process cannot be reached: %w", err)
		case err != nil:
			return unwire(err)
		case m.GetRunning() != nil:
			c.runningOnce.Do(func() { close(c.running) })
		}
	}
}
