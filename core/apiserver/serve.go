package apiserver

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

// stoppingKey is the key of the context that ends when the listeners by which a request came
// are closed. Watches end with it.
type stoppingKey struct{}

// stopping is when a request that lasts is to end; nil where nobody says.
func stopping(ctx context.Context) context.Context {
	s, _ := ctx.Value(stoppingKey{}).(context.Context)
	return s
}

// Serve accepts on the listeners until ctx is cancelled, then ends the watches that came by
// them, waits for their other requests and returns. Unix sockets are served without TLS. The
// first listener that fails ends the others and gives the error.
//
// It may be called for several sets of listeners, which then end one by one.
func (s *Server) Serve(ctx context.Context, listeners ...net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stopping, stop := context.WithCancel(context.Background())
	defer stop()
	base := context.WithValue(context.Background(), stoppingKey{}, stopping)
	servers := make([]*http.Server, len(listeners))
	var wg sync.WaitGroup
	failed := make(chan error, len(listeners))
	for i, l := range listeners {
		srv := s.httpServer()
		srv.BaseContext = func(net.Listener) context.Context { return base }
		servers[i] = srv
		if _, unix := l.Addr().(*net.UnixAddr); !unix && s.cfg.TLS != nil {
			c := s.cfg.TLS.Clone()
			c.NextProtos = []string{"h2", "http/1.1"}
			// Small records at a connection's start help who shows a page while it loads;
			// here they are a hundred writes for the first large answer.
			c.DynamicRecordSizingDisabled = true
			l = tls.NewListener(l, c)
		}
		wg.Go(func() {
			if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				failed <- fmt.Errorf("serve on %s: %w", l.Addr(), err)
				cancel()
			}
		})
	}
	<-ctx.Done()
	s.drain()
	// Watches end when nobody can connect any more: a client that opens one again at once is
	// refused, which it takes for a reason to try again, and does not meet a server that dies.
	var closed sync.WaitGroup
	for _, srv := range servers {
		closed.Add(1)
		srv.RegisterOnShutdown(closed.Done)
	}
	wg.Go(func() { closed.Wait(); stop() })
	deadline, done := context.WithTimeout(context.WithoutCancel(ctx), s.cfg.Limits.ShutdownTimeout)
	defer done()
	for _, srv := range servers {
		wg.Go(func() {
			if err := srv.Shutdown(deadline); err != nil {
				_ = srv.Close() // those who do not end in time are cut off
			}
		})
	}
	wg.Wait()
	select {
	case err := <-failed:
		return err
	default:
		return nil
	}
}

func (s *Server) httpServer() *http.Server {
	var p http.Protocols
	p.SetHTTP1(true)
	p.SetHTTP2(true)
	p.SetUnencryptedHTTP2(true)
	return &http.Server{
		Handler:           s,
		Protocols:         &p,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       3 * time.Minute,
		MaxHeaderBytes:    1 << 20,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: 1000,
			// Bodies are small and read at once.
			MaxReceiveBufferPerConnection: 1 << 20,
			MaxReceiveBufferPerStream:     256 << 10,
			SendPingTimeout:               30 * time.Second,
			PingTimeout:                   15 * time.Second,
		},
	}
}
