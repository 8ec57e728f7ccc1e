package host

import (
	"context"
	"slices"

	"github.com/pintle-dev/pintle/sdk/controller"
	"github.com/pintle-dev/pintle/sdk/plugin"
	"github.com/pintle-dev/pintle/sdk/protocol"
	"github.com/pintle-dev/pintle/sdk/remote"
	"github.com/pintle-dev/pintle/sdk/scheduler"
)

// guest is a plugin during one session, wherever it runs.
type guest struct {
	base plugin.Plugin
	// client is the plugin in a process of its own, nil for one that is linked in.
	client *remote.Client
	points []protocol.Point
	env    plugin.Env
	// controller and scheduler are the work that goes on until it is told to stop, nil
	// where there is none.
	controller controller.Controller
	scheduler  scheduler.Scheduler

	// ended is closed when the plugin's process is gone, and nil where it has none; why
	// says how that came about.
	ended <-chan struct{}
	why   func() error
	// ping fails where the plugin does not answer.
	ping func(context.Context) error
	// stop ends the plugin and returns when it has ended. kill ends it at once and does
	// not wait.
	stop, kill func()
}

func (g *guest) offers(p protocol.Point) bool { return slices.Contains(g.points, p) }

// runs are the pieces of work that go on until they are told to stop.
func (g *guest) runs() []func(context.Context, plugin.Env) error {
	var out []func(context.Context, plugin.Env) error
	if g.controller != nil {
		out = append(out, g.controller.Run)
	}
	if g.scheduler != nil {
		out = append(out, g.scheduler.Schedule)
	}
	return out
}

// holder is what the callers of one extension point hold of a plugin. It outlives the
// plugin's sessions, and says what a call gets while the plugin is away.
type holder interface {
	// attach connects it to a plugin that offers the point and has been configured. What
	// makes the point useless later is sent to failed, which ends the session; it takes one
	// error of each holder without blocking.
	attach(ctx context.Context, g *guest, failed chan<- error) error
	// detach is called before the plugin is stopped, and where attach failed.
	detach()
}

// as returns the plugin as the interface of an extension point that it offers: itself
// where it is linked in, else what far makes of its connection.
func as[T any](g *guest, far func(*remote.Client) (T, bool)) (T, bool) {
	if g.client != nil {
		return far(g.client)
	}
	t, ok := g.base.(T)
	return t, ok
}
