package apiserver_test

import (
	"context"
	"encoding/hex"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"

	"github.com/pintle-dev/pintle/core/apiserver"
	"github.com/pintle-dev/pintle/core/tracing"
)

// collected takes spans over gRPC, as a collector does.
type collected struct {
	collector.UnimplementedTraceServiceServer
	mu    sync.Mutex
	spans []*tracepb.Span
}

func (c *collected) Export(_ context.Context, r *collector.ExportTraceServiceRequest) (*collector.ExportTraceServiceResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, rs := range r.GetResourceSpans() {
		for _, ss := range rs.GetScopeSpans() {
			c.spans = append(c.spans, ss.GetSpans()...)
		}
	}
	return &collector.ExportTraceServiceResponse{}, nil
}

func startCollector(t *testing.T) (*collected, string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &collected{}
	s := grpc.NewServer()
	collector.RegisterTraceServiceServer(s, c)
	go func() { _ = s.Serve(l) }()
	t.Cleanup(s.Stop)
	return c, l.Addr().String()
}

func TestSpansOfARequestReachTheCollector(t *testing.T) {
	c, endpoint := startCollector(t)
	tracer, stop, err := tracing.Start(t.Context(), tracing.Config{Endpoint: endpoint, Service: "test"})
	if err != nil {
		t.Fatal(err)
	}
	a := newAPI(t, func(cfg *apiserver.Config) { cfg.Tracer = tracer })
	const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	a.must(201, "POST", "/api/v1/namespaces/default/configmaps", `{"metadata":{"name":"traced"}}`, "traceparent", parent)
	a.must(201, "POST", "/api/v1/namespaces/default/configmaps", `{"metadata":{"name":"not-sampled"}}`)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := stop(ctx); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, s := range c.spans {
		names = append(names, s.GetName())
		if got := hex.EncodeToString(s.GetTraceId()); got != "0af7651916cd43dd8448eb211c80319c" {
			t.Errorf("span %s is of trace %s", s.GetName(), got)
		}
	}
	slices.Sort(names)
	if want := []string{"create configmaps", "mutating admission", "validating admission", "write to the store"}; !slices.Equal(names, want) {
		t.Errorf("spans %q, want %q", names, want)
	}
}
