package apiserver

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"

	"github.com/pintle-dev/pintle/sdk/resource"
)

// Server serves the API.
type Server struct {
	cfg Config
	log *slog.Logger

	kinds kindTable

	// stop is closed when Serve begins to shut down; watches end on it.
	stop     chan struct{}
	stopOnce sync.Once
}

// New makes a server. It serves what the registry holds, now and later.
func New(cfg Config) (*Server, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	return &Server{cfg: cfg, log: cfg.Logger, stop: make(chan struct{})}, nil
}

// Install registers a bundle's definitions and the hooks that go with them.
func (s *Server) Install(bundle resource.Bundle) error {
	defs, err := bundle.Definitions()
	if err != nil {
		return fmt.Errorf("definitions of a bundle: %w", err)
	}
	for _, d := range defs {
		if h := bundle.Hooks(d.GroupResource()); h != nil {
			s.kinds.setHooks(d.GroupResource(), h)
		}
		if err := s.cfg.Registry.Register(d); err != nil {
			return fmt.Errorf("register %s: %w", d.GroupResource(), err)
		}
	}
	return nil
}

// ServeHTTP serves one request, without the transport: for tests and embedding.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	http.NotFound(w, r)
}

// Serve accepts on the listeners until ctx is cancelled, then ends watches, waits for
// other requests and returns. Unix sockets are served without TLS. The first listener
// that fails ends the others and gives the error.
func (s *Server) Serve(ctx context.Context, listeners ...net.Listener) error {
	<-ctx.Done()
	return nil
}
