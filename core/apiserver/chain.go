package apiserver

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"runtime/debug"
	"strings"
	"time"

	"go.opentelemetry.io/otel/trace"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/validate/content"

	"github.com/pintle-dev/pintle/core/apiserver/corev1"
	"github.com/pintle-dev/pintle/core/apiserver/fairness"
	"github.com/pintle-dev/pintle/core/audit"
	"github.com/pintle-dev/pintle/core/auth"
	"github.com/pintle-dev/pintle/core/store"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// notCached keeps caches between from answering for the server. What may be cached says so.
var notCached = []string{"no-cache, private"}

// ServeHTTP serves one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	growStack(0)
	start := time.Now()
	rec := &recorder{ResponseWriter: w, start: start}
	w.Header()["Cache-Control"] = notCached
	var rt route
	if s.cfg.Tracer != nil {
		defer func() { endTrace(rec.span, &rt, rec.code) }()
	}
	defer func() {
		p := recover()
		if p != nil {
			if err, ok := p.(error); ok && err == http.ErrAbortHandler { //nolint:errorlint // net/http knows it by identity, too
				rec.audit.Done(rec.code, p)
				panic(p)
			}
			s.log.Error("panic in a request", "method", r.Method, "path", r.URL.Path, "panic", p, "stack", string(debug.Stack()))
			if rec.code == 0 {
				s.respondError(rec, r, apierrors.NewInternalError(fmt.Errorf("the server failed on this request: %v", p)))
			}
		}
		if rec.audit != nil {
			rec.audit.Done(rec.code, p)
		}
		s.metrics.done(&rt, rec.code, rec.written, time.Since(start))
	}()
	if err := s.serve(rec, r, &rt); err != nil {
		if rec.code != 0 {
			s.log.Debug("request failed after its answer began", "path", r.URL.Path, "error", err)
			return
		}
		s.respondError(rec, r, err)
	}
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request, rt *route) error {
	var query url.Values
	if r.URL.RawQuery != "" {
		query = r.URL.Query()
	} else {
		query = url.Values{}
	}
	*rt = parseRoute(r, query)
	rt.selectName(query)

	id := audit.SetID(w, r)
	user, ok, err := s.cfg.Authenticator.Authenticate(r)
	if err != nil || !ok {
		if err != nil {
			s.log.Debug("authentication failed", "path", r.URL.Path, "error", err)
		}
		if s.cfg.Audit != nil {
			s.auditUnauthenticated(w, r, rt)
		}
		return apierrors.NewUnauthorized("Unauthorized")
	}
	if s.cfg.Tracer != nil {
		r = s.traced(w, r, &user, id)
	}
	if s.cfg.Audit != nil {
		if r, err = s.beginAudit(w, r, rt, user); err != nil {
			return err
		}
	}
	ctx := r.Context()
	attributes := rt.attributes(user)
	if len(query) > 0 {
		attributes.FieldSelector, attributes.LabelSelector = rt.selectors(query)
	}
	if user, err = s.impersonate(ctx, r, attributes); err != nil {
		return err
	}
	attributes.User = user
	ticket, err := s.seat(ctx, w, rt, query, &attributes)
	if err != nil {
		return err
	}
	defer ticket.Release()
	if !rt.freeForAll(user) {
		if err := s.authorize(ctx, attributes); err != nil {
			return err
		}
	}
	if s.cfg.Aggregator != nil && s.cfg.Aggregator.Serves(r.URL.Path) {
		if served, err := s.serveElsewhere(w, r, rt, query, user, &ticket); served || err != nil {
			return err
		}
	}
	if !rt.resource {
		s.servePath(w, r, user)
		return nil
	}
	return s.serveResource(ctx, w, r, rt, query, user, &ticket)
}

func (s *Server) authorize(ctx context.Context, a auth.Attributes) error {
	allowed, reason, err := s.cfg.Authorizer.Authorize(ctx, a)
	if s.cfg.Audit != nil {
		auditDecision(ctx, allowed, reason, err)
	}
	if allowed {
		return nil
	}
	if failed := auth.Failure(err); failed != nil {
		return apierrors.NewInternalError(failed)
	}
	return forbidden(a, reason)
}

func (s *Server) serveResource(ctx context.Context, w http.ResponseWriter, r *http.Request, rt *route, query url.Values, user resource.User, ticket *fairness.Ticket) error {
	k, ok := s.lookup(rt.gvr)
	if !ok {
		// What is authorized as a resource may be a handler, which is no resource with objects.
		if _, ok := s.cfg.Handlers[r.URL.Path]; ok {
			s.servePath(w, r, user)
			return nil
		}
		// What is no resource may be a path of discovery, which answers 404 in its own way.
		return errNoRoute()
	}
	q := &request{server: s, w: w, r: r, ctx: ctx, route: *rt, query: query, user: user, kind: k, ticket: ticket}
	if err := q.checkRoute(); err != nil {
		return err
	}
	long := rt.verb == "watch"
	if sub, ok := k.subresource(rt.subresource); ok && sub.Connect {
		long = true
	}
	if !long {
		timeout, err := s.timeout(query)
		if err != nil {
			return err
		}
		if rt.verb != "get" {
			var cancel context.CancelFunc
			q.ctx, cancel = context.WithDeadline(ctx, begun(w).Add(timeout))
			defer cancel()
		}
		release, err := s.admit(rt.verb)
		if err != nil {
			return err
		}
		defer release()
	}
	if err := q.dispatch(); err != nil {
		// What admission has warned of is said of a refusal, too.
		if !q.wrote {
			q.writeWarnings()
		}
		// Whatever has failed when the time is over has failed for that, except for writes that
		// may have been done.
		if over := q.ctx.Err(); !long && errors.Is(over, context.DeadlineExceeded) && !errors.Is(err, store.ErrUnknownOutcome) {
			s.log.Debug("a request took too long", "path", r.URL.Path, "error", err)
			return over
		}
		return err
	}
	return nil
}

// checkRoute refuses what the kind has no objects for.
func (q *request) checkRoute() error {
	k, rt := q.kind, &q.route
	if k.Version.Deprecated {
		text := k.Version.DeprecationWarning
		if text == "" {
			text = fmt.Sprintf("%s %s is deprecated", k.apiVersion, k.GVK.Kind)
		}
		q.warn(text)
	}
	if wrong := content.IsPathSegmentName(rt.name); len(wrong) > 0 && rt.name != "" {
		return apierrors.NewBadRequest(fmt.Sprintf("Name parameter invalid: %q: %s", rt.name, strings.Join(wrong, ";")))
	}
	if q.r.Method == http.MethodHead && k.builtin {
		return q.errMethod()
	}
	if k.namespaced && rt.namespace == "" && !k.Definition.Virtual {
		switch {
		case rt.verb == "create" && rt.name == "", rt.verb == "deletecollection":
			return q.errMethod()
		case rt.name != "" && rt.verb != "list" && rt.verb != "watch":
			return errNoRoute()
		}
	}
	if !k.namespaced && rt.namespace != "" && (rt.gvr.Resource != "namespaces" || rt.namespace != rt.name) {
		return errNoRoute()
	}
	if !k.namespaced {
		q.route.namespace = ""
	}
	return nil
}

// admit counts a request against the limits in flight.
func (s *Server) admit(verb string) (release func(), err error) {
	n, limit := &s.writes, int64(s.cfg.Limits.MaxWrites)
	if verb == "get" || verb == "list" {
		n, limit = &s.reads, int64(s.cfg.Limits.MaxReads)
	}
	if n.Add(1) > limit && s.cfg.Fairness == nil {
		n.Add(-1)
		return nil, errTooManyRequests
	}
	return func() { n.Add(-1) }, nil
}

// dispatchVerb calls what answers the verb.
func (q *request) dispatchVerb() error {
	k, rt := q.kind, &q.route
	if rt.history {
		return q.history()
	}
	if rt.subresource != "" {
		return q.dispatchSubresource()
	}
	if !k.allows(rt.verb) {
		return q.errMethod()
	}
	switch rt.verb {
	case "get":
		return q.get()
	case "list":
		return q.list()
	case "watch":
		return q.watch()
	case "create":
		if rt.name != "" && k.builtin {
			return q.errMethod()
		}
		if k.Definition.Virtual && k.GVR == corev1.Transactions {
			return q.transact()
		}
		if k.Definition.Virtual {
			return q.createVirtual()
		}
		return q.create()
	case "update":
		if rt.name == "" {
			return q.errNameless()
		}
		return q.update()
	case "patch":
		if rt.name == "" {
			return q.errNameless()
		}
		return q.patch()
	case "delete":
		return q.delete()
	case "deletecollection":
		return q.deleteCollection()
	}
	return q.errMethod()
}

func (q *request) dispatchSubresource() error {
	k, rt := q.kind, &q.route
	switch {
	case rt.name == "":
		return errNoRoute()
	case rt.subresource == "status" && k.Version.Status:
		switch rt.verb {
		case "get":
			return q.get()
		case "update":
			return q.update()
		case "patch":
			return q.patch()
		}
		return q.errMethod()
	case rt.subresource == "scale" && k.Version.Scale != nil:
		return q.scale()
	}
	sub, ok := k.subresource(rt.subresource)
	if !ok {
		return errNoRoute()
	}
	if sub.Connect {
		if q.server.cfg.Connect == nil {
			return errNoRoute()
		}
		a := rt.attributes(q.user)
		a.Namespace, a.Path = rt.namespace, rt.rest
		if err := q.admitConnect(sub); err != nil {
			return err
		}
		q.wrote = true
		q.server.cfg.Connect(streamWriter(q.w), q.r, a)
		return nil
	}
	allowed := false
	for _, v := range sub.Verbs {
		allowed = allowed || v == rt.verb
	}
	if !allowed {
		return q.errMethod()
	}
	switch rt.verb {
	case "get":
		return q.get()
	case "create":
		return q.createSubresource(sub)
	case "update":
		return q.update()
	case "patch":
		return q.patch()
	}
	return q.errMethod()
}

// recorder remembers the status code and keeps flushing and hijacking possible.
type recorder struct {
	http.ResponseWriter
	code    int
	written int64
	start   time.Time
	// audit is the request's record, nil where there is none.
	audit *audit.Record
	// span is the request's, nil where there is none.
	span trace.Span
}

// begun is when the request began that w answers: its time runs while it waits for its turn,
// too.
func begun(w http.ResponseWriter) time.Time {
	if rec, ok := w.(*recorder); ok {
		return rec.start
	}
	return time.Now()
}

// WriteHeader implements http.ResponseWriter.
func (r *recorder) WriteHeader(code int) {
	if r.code == 0 {
		r.begin(code)
	}
	r.ResponseWriter.WriteHeader(code)
}

// Write implements http.ResponseWriter.
func (r *recorder) Write(b []byte) (int, error) {
	if r.code == 0 {
		r.begin(http.StatusOK)
	}
	n, err := r.ResponseWriter.Write(b)
	r.written += int64(n)
	return n, err //nolint:wrapcheck // the writer's own
}

func (r *recorder) begin(code int) {
	r.code = code
	if r.audit != nil {
		r.audit.Started(code)
	}
}

// Flush implements http.Flusher.
func (r *recorder) Flush() {
	if f, ok := r.ResponseWriter.(http.Flusher); ok {
		f.Flush()
	}
}

// Unwrap gives http.ResponseController what is below.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }
