package controlplane

import (
	"context"
	"time"

	"github.com/pintle-dev/pintle/cmd/pintle/internal/release"
	"github.com/pintle-dev/pintle/core/apiserver"
	"github.com/pintle-dev/pintle/core/tracing"
)

// addTracing sends spans of requests where the configuration says so.
func (s *Server) addTracing(cfg *apiserver.Config) (err error) {
	t := s.cfg.API.Tracing
	if t.Endpoint == "" {
		return nil
	}
	cfg.Tracer, s.tracing, err = tracing.Start(context.Background(), tracing.Config{
		Endpoint: t.Endpoint, SamplingRatePerMillion: t.SamplingRatePerMillion, Service: "pintle-server", Version: release.Version, Logger: s.log,
	})
	return err
}

// lastSpans bounds how long the server's end may wait for the collector.
const lastSpans = 2 * time.Second

func (s *Server) endTracing() {
	if s.tracing == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), lastSpans)
	defer cancel()
	if err := s.tracing(ctx); err != nil {
		s.log.Warn("the last spans were not sent", "error", err)
	}
}
