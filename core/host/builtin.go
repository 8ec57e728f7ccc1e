package host

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"

	"github.com/pintle-dev/pintle/sdk/controller"
	"github.com/pintle-dev/pintle/sdk/plugin"
	"github.com/pintle-dev/pintle/sdk/points"
	"github.com/pintle-dev/pintle/sdk/protocol"
	"github.com/pintle-dev/pintle/sdk/scheduler"
)

// embed makes a guest of an implementation that is linked into the host. Its identity is
// its own, as that of a process would be. A panic of Run itself ends the session; one in
// a goroutine that the plugin started takes the host along: that is the price of this
// placement.
func (i *instance) embed(env protocol.Environment) (*guest, error) {
	impl := i.spec.Builtin
	log := slog.New(slog.NewTextHandler(i.out, nil))
	e, err := env.Env(impl.Info(), log)
	if err != nil {
		return nil, err
	}
	g := &guest{
		base: impl,
		env:  e,
		ping: func(context.Context) error { return nil },
		stop: func() {},
		kill: func() {},
	}
	for _, p := range points.Of(impl) {
		g.points = append(g.points, p.Name)
	}
	if c, ok := impl.(controller.Controller); ok {
		g.controller = guardedController{c, i.out}
	}
	if c, ok := impl.(scheduler.Scheduler); ok {
		g.scheduler = guardedScheduler{c, i.out}
	}
	if len(g.points) == 0 {
		return nil, refuse("it offers no extension point")
	}
	i.out.note("started in the host's process")
	return g, nil
}

type guardedController struct {
	controller.Controller
	out *output
}

func (g guardedController) Run(ctx context.Context, env plugin.Env) error {
	return guard(g.out, func() error { return g.Controller.Run(ctx, env) })
}

type guardedScheduler struct {
	scheduler.Scheduler
	out *output
}

func (g guardedScheduler) Schedule(ctx context.Context, env plugin.Env) error {
	return guard(g.out, func() error { return g.Scheduler.Schedule(ctx, env) })
}

func guard(out *output, f func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			_, _ = fmt.Fprintf(out, "panic: %v\n\n%s", r, debug.Stack())
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	return f()
}
