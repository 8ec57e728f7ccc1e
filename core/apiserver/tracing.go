package apiserver

import (
	"context"
	"net/http"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/pintle-dev/pintle/core/store"
)

// traced begins the span of a request, as a child of the caller's where it sends one.
func (s *Server) traced(r *http.Request) (*http.Request, trace.Span) {
	ctx := propagation.TraceContext{}.Extract(r.Context(), propagation.HeaderCarrier(r.Header))
	ctx, span := s.cfg.Tracer.Start(ctx, r.Method, trace.WithSpanKind(trace.SpanKindServer),
		trace.WithAttributes(attribute.String("http.request.method", r.Method), attribute.String("url.path", r.URL.Path),
			attribute.String("user_agent.original", r.UserAgent())))
	return r.WithContext(ctx), span
}

// endTrace ends a request's span.
func endTrace(span trace.Span, rt *route, code int) {
	if rt.resource {
		// Objects' names would make as many spans' names as there are objects.
		name := rt.verb + " " + rt.gvr.GroupResource().String()
		if rt.subresource != "" {
			name += "/" + rt.subresource
		}
		span.SetName(name)
		span.SetAttributes(attribute.String("k8s.namespace.name", rt.namespace))
	}
	span.SetAttributes(attribute.Int("http.response.status_code", code))
	if code >= http.StatusInternalServerError {
		span.SetStatus(codes.Error, "")
	}
	span.End()
}

// step begins a span of a part of a request, where requests are traced; end ends it.
func (s *Server) step(ctx context.Context, name string) (_ context.Context, end func()) {
	if s.cfg.Tracer == nil {
		return ctx, func() {}
	}
	ctx, span := s.cfg.Tracer.Start(ctx, name)
	return ctx, func() { span.End() }
}

// write is the store's, as a step of its own.
func (s *Server) write(ctx context.Context, w store.Write) (store.Object, error) {
	ctx, end := s.step(ctx, "write to the store")
	defer end()
	return s.cfg.Store.Write(ctx, w) //nolint:wrapcheck // callers know what they write
}
