package host

import (
	"context"
	"fmt"
	"sync"

	"google.golang.org/grpc"

	"github.com/pintle-dev/pintle/sdk/protocol"
)

// Dial connects to a plugin that somebody else has started, over the contract as a process of
// the host's would speak it. The session closes the connection. end ends the plugin, and is
// called after that; it may be nil.
type Dial func(ctx context.Context) (conn *grpc.ClientConn, end func(), err error)

// reach makes a guest of a plugin that is served elsewhere. Its life is its own: the host
// learns that it is gone by what fails.
func (i *instance) reach(ctx context.Context, env protocol.Environment) (*guest, error) {
	ctx, cancel := context.WithTimeout(ctx, i.host.config.StartTimeout)
	defer cancel()
	conn, end, err := i.spec.Dial(ctx)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	stop := sync.OnceFunc(func() {
		_ = conn.Close() // nobody is left who could do more
		if end != nil {
			end()
		}
	})
	g, err := i.converse(ctx, conn, env)
	if err != nil {
		stop()
		return nil, err
	}
	g.stop, g.kill = stop, stop
	i.out.note("connected to a plugin that is served elsewhere")
	return g, nil
}

// WaitRestarted returns when the named plugin has been started again since it had been so
// many times, and is healthy or in standby.
func (h *Host) WaitRestarted(ctx context.Context, name string, restarts int) error {
	s, err := h.plugin(name)
	if err != nil {
		return err
	}
	for {
		st, changed := s.watch()
		if st.Restarts > restarts {
			return s.waitHealthy(ctx)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("plugin %s was not restarted, it is %s: %w", name, st.Health, ctx.Err())
		}
	}
}
