package host

import (
	"context"
	"fmt"

	"github.com/pintle-dev/pintle/sdk/authentication"
	"github.com/pintle-dev/pintle/sdk/authorization"
	"github.com/pintle-dev/pintle/sdk/protocol"
	"github.com/pintle-dev/pintle/sdk/remote"
)

// Seat is where a plugin is asked from, for as long as it is there.
type Seat[T any] interface {
	// Attach seats a plugin. The channel is closed when the calls of the one before have
	// ended.
	Attach(impl T) (drained <-chan struct{})
	// Detach says that the plugin is away. The channel is closed when its calls have ended.
	Detach() (drained <-chan struct{})
}

// seatHolder lets a plugin be asked for which the configuration has a seat. Others that offer
// the point run, and are not asked.
type seatHolder[T any] struct {
	supervisor *supervisor
	point      protocol.Point
	seat       Seat[T] // nil where there is none
	far        func(*remote.Client, context.Context) (T, *remote.Line, error)
	lines      lines
}

func newAuthenticationHolder(s *supervisor) holder {
	return &seatHolder[authentication.Authenticator]{
		supervisor: s, point: protocol.PointAuthentication, seat: s.host.config.Authenticators[s.spec.Name],
		far: (*remote.Client).Authenticator,
	}
}

func newAuthorizationHolder(s *supervisor) holder {
	return &seatHolder[authorization.Authorizer]{
		supervisor: s, point: protocol.PointAuthorization, seat: s.host.config.Authorizers[s.spec.Name],
		far: (*remote.Client).Authorizer,
	}
}

func (h *seatHolder[T]) attach(ctx context.Context, g *guest, failed chan<- error) error {
	if h.seat == nil {
		h.supervisor.out.note("it offers %s and is not asked: the server's configuration does not name it (api.%sPlugins)", h.point, h.point)
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, h.supervisor.host.config.CallTimeout)
	defer cancel()
	impl, ok := g.base.(T)
	line := noLine()
	var err error
	if g.client != nil {
		if impl, line, err = h.far(g.client, ctx); err != nil {
			return fmt.Errorf("its %s: %w", h.point, err)
		}
	} else if !ok {
		return fmt.Errorf("it offers point %q and does not implement it", h.point)
	}
	h.lines.follow(line, h.seat.Attach(impl), failed, fmt.Sprintf("its %s can no longer be called", h.point))
	return nil
}

// leave implements leaver.
func (h *seatHolder[T]) leave(bool) {
	if h.seat != nil {
		h.lines.leave(h.seat.Detach())
	}
}

func (h *seatHolder[T]) detach() {
	if h.seat != nil {
		h.seat.Detach()
		h.lines.closeAll()
	}
}

// drain implements drainer.
func (h *seatHolder[T]) drain(ctx context.Context) { h.lines.drain(ctx) }
