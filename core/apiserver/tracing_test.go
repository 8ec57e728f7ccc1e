package apiserver_test

import (
	"context"
	"encoding/hex"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"

	"github.com/pintle-dev/pintle/core/apiserver"
	"github.com/pintle-dev/pintle/core/tracing"
	"github.com/pintle-dev/pintle/sdk/resource"
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

// masters is everyone; root is who may do everything.
type masters struct{ everyone }

func (m masters) Authenticate(r *http.Request) (resource.User, bool, error) {
	u, ok, err := m.everyone.Authenticate(r)
	if u.Name == "root" {
		u.Groups = []string{"system:masters"}
	}
	return u, ok, err
}

// What clients send reaches the collector in bounds, and can't keep other spans from it.
func TestSpansOfHostileClients(t *testing.T) {
	c, endpoint := startCollector(t)
	tracer, stop, err := tracing.Start(t.Context(), tracing.Config{Endpoint: endpoint, Service: "test", SamplingRatePerMillion: 1_000_000})
	if err != nil {
		t.Fatal(err)
	}
	a := newAPI(t, func(cfg *apiserver.Config) { cfg.Tracer = tracer })
	a.do("GET", "/api/v1/namespaces/%ff/\xfe%fe/x", "", "User-Agent", "\xff"+strings.Repeat("x", 100_000), "Audit-Id", "\xfe",
		"traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := stop(ctx); err != nil {
		t.Fatal(err)
	}
	if len(c.spans) < 2 {
		t.Fatalf("%d spans", len(c.spans))
	}
	linked := 0
	for _, s := range c.spans {
		linked += len(s.GetLinks())
		for _, attr := range s.GetAttributes() {
			if n := len(attr.GetValue().GetStringValue()); n > 1024*4 {
				t.Errorf("%s of %s has %d bytes", attr.GetKey(), s.GetName(), n)
			}
		}
	}
	if linked != 1 {
		t.Errorf("%d links to the trace of a client that is not trusted", linked)
	}
}

func TestSpansOfARequestReachTheCollector(t *testing.T) {
	c, endpoint := startCollector(t)
	tracer, stop, err := tracing.Start(t.Context(), tracing.Config{Endpoint: endpoint, Service: "test"})
	if err != nil {
		t.Fatal(err)
	}
	a := newAPI(t, func(cfg *apiserver.Config) { cfg.Tracer, cfg.Authenticator = tracer, masters{} })
	const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	a.must(201, "POST", "/api/v1/namespaces/default/configmaps", `{"metadata":{"name":"traced"}}`, "traceparent", parent)
	a.must(201, "POST", "/api/v1/namespaces/default/configmaps", `{"metadata":{"name":"not-sampled"}}`)
	a.must(201, "POST", "/api/v1/namespaces/default/configmaps", `{"metadata":{"name":"not-trusted"}}`, "traceparent", parent, "X-User", "jane")
	a.must(401, "GET", "/api/v1/namespaces/default/configmaps", "", "traceparent", parent, "X-User", "unknown")
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
