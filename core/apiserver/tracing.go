package apiserver

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"k8s.io/apiserver/pkg/authentication/user"

	"github.com/pintle-dev/pintle/core/auth"
	"github.com/pintle-dev/pintle/core/store"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// trusted are the groups whose traces requests may be part of, as with upstream. Whoever else
// sends a trace's context must not decide how much is traced.
var trusted = [...]string{auth.MastersGroup, user.MonitoringGroup}

// traced begins the span of a request: as a child of the caller's where it sends one and is
// trusted, as the beginning of a trace otherwise.
func (s *Server) traced(w http.ResponseWriter, r *http.Request, by *resource.User, id string) *http.Request {
	rec, ok := w.(*recorder)
	if !ok {
		return r
	}
	ctx := propagation.TraceContext{}.Extract(r.Context(), propagation.HeaderCarrier(r.Header))
	opts := []trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindServer), trace.WithTimestamp(rec.start),
		trace.WithAttributes(attribute.String("http.request.method", r.Method), attribute.String("url.path", text(r.URL.Path)),
			attribute.String("user_agent.original", text(r.UserAgent())), attribute.String("audit-id", text(id)))}
	if remote := trace.SpanContextFromContext(ctx); remote.IsValid() && !slices.ContainsFunc(trusted[:], func(g string) bool { return slices.Contains(by.Groups, g) }) {
		opts = append(opts, trace.WithNewRoot(), trace.WithLinks(trace.Link{SpanContext: remote}))
	}
	ctx, rec.span = s.cfg.Tracer.Start(ctx, r.Method, opts...)
	return r.WithContext(ctx)
}

// text is what a client has sent as spans may have it: a span with anything else is sent to
// no collector, nor are those beside it.
func text(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

// endTrace ends a request's span.
func endTrace(span trace.Span, rt *route, code int) {
	if span == nil {
		return // nobody knows whose the request is
	}
	if rt.resource {
		// Objects' names would make as many spans' names as there are objects.
		name := rt.verb + " " + rt.gvr.GroupResource().String()
		if rt.subresource != "" {
			name += "/" + rt.subresource
		}
		span.SetName(text(name))
		span.SetAttributes(attribute.String("k8s.namespace.name", text(rt.namespace)))
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
