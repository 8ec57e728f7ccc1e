// Package tracing sends spans of requests to an OpenTelemetry collector. It must not know
// what the requests are.
package tracing

import (
	"context"
	"fmt"
	"log/slog"

	"go.opentelemetry.io/otel"
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
	// Logger hears of spans that were not sent; nil discards.
	Logger *slog.Logger
}

// maxText bounds each attribute of a span: clients send texts of any length, and thousands of
// spans wait to be sent.
const maxText = 1024

const million = 1_000_000

// Start returns a tracer whose spans are sent in batches, and the function that sends what is
// left and ends it. A collector that is not there costs spans and nothing else.
func Start(ctx context.Context, c Config) (trace.Tracer, func(context.Context) error, error) {
	log := c.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	// The library has one handler for the process and would write lines of its own.
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) {
		log.Warn("spans were not sent", "endpoint", c.Endpoint, "error", err)
	}))
	limits := sdktrace.NewSpanLimits()
	limits.AttributeValueLengthLimit = maxText
	exporter, err := otlptracegrpc.New(ctx, otlptracegrpc.WithEndpoint(c.Endpoint), otlptracegrpc.WithInsecure())
	if err != nil {
		return nil, nil, fmt.Errorf("exporter of spans: %w", err)
	}
	provider := sdktrace.NewTracerProvider(
		sdktrace.WithBatcher(exporter),
		sdktrace.WithRawSpanLimits(limits),
		sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(float64(c.SamplingRatePerMillion)/million))),
		sdktrace.WithResource(resource.NewSchemaless(
			attribute.String("service.name", c.Service), attribute.String("service.version", c.Version))),
	)
	return provider.Tracer("github.com/pintle-dev/pintle"), provider.Shutdown, nil
}
