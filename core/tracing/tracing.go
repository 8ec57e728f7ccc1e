// Package tracing sends spans of requests to an OpenTelemetry collector. It must not know
// what the requests are.
package tracing

import (
	"context"
	"fmt"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// Config says where spans go and how many; it has the fields of Kubernetes'
// TracingConfiguration (apiserver.config.k8s.io/v1).
type Config struct {
	// Endpoint is the "host:port" of a collector that speaks OTLP over gRPC without TLS.
	Endpoint string
	// SamplingRatePerMillion of requests that come without a decision of their caller's.
	// A caller's decision is kept.
	SamplingRatePerMillion int
	// Service and Version name the program in the spans.
	Service, Version string
}

const million = 1_000_000

// Start returns a tracer whose spans are sent in batches, and the function that sends what is
// left and ends it. A collector that is not there costs spans and nothing else.
func Start(ctx context.Context, c Config) (trace.Tracer, func(context.Context) error, error) {
	exporter, err := otlptracegrpc.New(ctx, otlptracegrpc.WithEndpoint(c.Endpoint), otlptracegrpc.WithInsecure())
	if err != nil {
		return nil, nil, fmt.Errorf("exporter of spans: %w", err)
	}
	provider := sdktrace.NewTracerProvider(
		sdktrace.WithBatcher(exporter),
		sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(float64(c.SamplingRatePerMillion)/million))),
		sdktrace.WithResource(resource.NewSchemaless(
			attribute.String("service.name", c.Service), attribute.String("service.version", c.Version))),
	)
	return provider.Tracer("github.com/pintle-dev/pintle"), provider.Shutdown, nil
}
