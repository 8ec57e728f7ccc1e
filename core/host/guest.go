package host

import (
	"context"

	"github.com/pintle-dev/pintle/sdk/controller"
	"github.com/pintle-dev/pintle/sdk/kms"
	"github.com/pintle-dev/pintle/sdk/network"
	"github.com/pintle-dev/pintle/sdk/plugin"
	"github.com/pintle-dev/pintle/sdk/protocol"
	"github.com/pintle-dev/pintle/sdk/resource"
	"github.com/pintle-dev/pintle/sdk/scheduler"
)

// guest is a plugin during one session, wherever it runs. Extension points that it does
// not offer are nil.
type guest struct {
	base       plugin.Plugin
	points     []protocol.Point
	controller controller.Controller
	scheduler  scheduler.Scheduler
	network    network.Network
	keys       kms.KeyManager
	bundle     func(context.Context) (guestBundle, error)
	env        plugin.Env

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

// guestBundle are the resource types of a guest.
type guestBundle struct {
	resource.Bundle
	// changed: the definitions are new, or other than those known before.
	changed bool
	// gone is closed when the hooks can no longer be called; nil where that can't be.
	gone <-chan struct{}
}

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
