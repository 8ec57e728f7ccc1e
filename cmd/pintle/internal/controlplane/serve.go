package controlplane

import (
	"context"
	"net"
	"time"

	"golang.org/x/sync/errgroup"
)

// serve serves the API and runs the plugins until serving ends, which is ctx or a part of it.
// Then they end from the outside in, so that nobody is left without what they call: first the
// port, with the requests that came by it; then the plugins, which these may need and which
// call the server by its socket; last the socket. Where a part fails, all end at once.
func (s *Server) serve(ctx, serving context.Context, listeners []net.Listener, started time.Time) error {
	group, ctx := errgroup.WithContext(ctx)
	phase := func() (context.Context, context.CancelFunc) { return context.WithCancel(ctx) }
	port, endPort := phase()
	plugins, endPlugins := phase()
	socket, endSocket := phase()
	defer endSocket()
	defer context.AfterFunc(serving, endPort)()

	var public, private []net.Listener
	for _, l := range listeners {
		if _, unix := l.Addr().(*net.UnixAddr); unix {
			private = append(private, l)
		} else {
			public = append(public, l)
		}
	}
	group.Go(func() error {
		defer endPlugins()
		return s.api.Serve(port, public...)
	})
	group.Go(func() error {
		defer endSocket()
		return s.populate(plugins, started)
	})
	// Audit sinks run until the last request has been answered.
	group.Go(func() error {
		return s.access.serve(socket, func() error { return s.api.Serve(socket, private...) })
	})
	return group.Wait()
}
