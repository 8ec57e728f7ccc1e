package host

import (
	"context"
	"fmt"

	"github.com/pintle-dev/pintle/sdk/protocol"
	"github.com/pintle-dev/pintle/sdk/scheduling"
)

// schedulingHolder gives a plugin with a part in scheduling its environment. The host itself
// asks it nothing: schedulers do, through the relay.
type schedulingHolder struct{ supervisor *supervisor }

func (h schedulingHolder) attach(ctx context.Context, g *guest, _ chan<- error) error {
	ctx, cancel := context.WithTimeout(ctx, h.supervisor.host.config.CallTimeout)
	defer cancel()
	if g.client == nil {
		if impl, ok := g.base.(scheduling.Starter); ok {
			return impl.Start(ctx, g.env)
		}
		return nil
	}
	far, ok, err := g.client.Scheduling(ctx)
	switch {
	case err != nil:
		return fmt.Errorf("its part in scheduling: %w", err)
	case !ok:
		return fmt.Errorf("it offers point %q and has no part in scheduling", protocol.PointScheduling)
	}
	return far.Start(ctx, g.env)
}

func (schedulingHolder) detach() {}
