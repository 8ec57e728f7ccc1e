package apiserver

import (
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/pintle-dev/pintle/sdk/resource"
)

// Server serves the API.
type Server struct {
	cfg     Config
	log     *slog.Logger
	metrics *metrics
	reader  *reader

	kinds   kindTable
	derived derivedCache

	reads, writes atomic.Int64
	// transactions that are on their way.
	transactions atomic.Int64

	// draining is closed when the server is about to stop.
	draining chan struct{}
	drain    func()
}

// New makes a server. It serves what the registry holds, now and later.
func New(cfg Config) (*Server, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg, log: cfg.Logger}
	s.draining = make(chan struct{})
	s.drain = sync.OnceFunc(func() { close(s.draining) })
	m, err := newMetrics(cfg.Metrics, s.known,
		func() float64 { return float64(s.reads.Load()) }, func() float64 { return float64(s.writes.Load()) })
	if err != nil {
		return nil, fmt.Errorf("apiserver: %w", err)
	}
	s.metrics = m
	if err := registerAll(cfg.Metrics, counts{cfg.Store, cfg.Registry}); err != nil {
		return nil, fmt.Errorf("apiserver: %w", err)
	}
	s.reader = newReader(s)
	s.derived.limit = cfg.Limits.DerivedBytes
	return s, nil
}

// Install registers a bundle's definitions and the hooks that go with them. A bundle that
// is installed again, as a plugin's is after a restart, takes the place of its former
// self; names that another source holds are an error.
func (s *Server) Install(bundle resource.Bundle) error {
	defs, err := bundle.Definitions()
	if err != nil {
		return fmt.Errorf("definitions of a bundle: %w", err)
	}
	for _, d := range defs {
		gr := d.GroupResource()
		add := s.cfg.Registry.Register
		if old, ok := s.cfg.Registry.Snapshot().Definition(gr); !ok {
			s.kinds.setHooks(gr, bundle.Hooks(gr))
		} else if old.Source != "" && old.Source == d.Source {
			s.kinds.setHooks(gr, bundle.Hooks(gr))
			add = s.cfg.Registry.Replace
		}
		if err := add(d); err != nil {
			return fmt.Errorf("register %s: %w", gr, err)
		}
	}
	return nil
}

// Uninstall stops serving a type that Install brought, where it is still from that source.
// Its objects stay in the store.
func (s *Server) Uninstall(gr schema.GroupResource, source string) {
	if d, ok := s.cfg.Registry.Snapshot().Definition(gr); ok && d.Source == source {
		s.cfg.Registry.Remove(gr)
		s.kinds.setHooks(gr, nil)
	}
}

// Drain makes /readyz fail while everything else goes on, so that load balancers look for
// another server before this one stops.
func (s *Server) Drain() { s.drain() }

// Reader reads objects as hooks do.
func (s *Server) Reader() resource.Reader { return s.reader }
