package apiserver

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"github.com/pintle-dev/pintle/core/audit"
	"github.com/pintle-dev/pintle/core/auth"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// Annotations that say how a request was decided.
const (
	annotationDecision = "authorization.k8s.io/decision"
	annotationReason   = "authorization.k8s.io/reason"
)

// beginAudit starts the record of a request; the request it returns carries it. The error is
// for requests that must not be served without a record.
func (s *Server) beginAudit(w http.ResponseWriter, r *http.Request, rt *route, user resource.User) (*http.Request, error) {
	rec, ok := w.(*recorder)
	if !ok {
		return r, nil
	}
	var err error
	if rec.audit, err = s.cfg.Audit.Begin(w, r, rt.attributes(user), rec.start, s.lasts(rt)); err != nil {
		return r, errNotAudited()
	}
	if rec.audit == nil {
		return r, nil
	}
	return r.WithContext(audit.NewContext(r.Context(), rec.audit)), nil
}

// errNotAudited refuses a request that must not be served without a record.
func errNotAudited() error {
	return apierrors.NewInternalError(errors.New("failed to store audit event"))
}

// auditUnauthenticated records a request that is about to be answered 401.
func (s *Server) auditUnauthenticated(w http.ResponseWriter, r *http.Request, rt *route) {
	if rec, ok := w.(*recorder); ok {
		rec.audit = s.cfg.Audit.Unauthenticated(w, r, rt.attributes(resource.User{}), rec.start)
	}
}

// lasts reports whether a request is a watch or a byte stream.
func (s *Server) lasts(rt *route) bool {
	if !rt.resource || rt.verb == "watch" {
		return rt.resource
	}
	if rt.subresource == "" {
		return false
	}
	k, ok := s.lookup(rt.gvr)
	if !ok {
		return false
	}
	sub, ok := k.subresource(rt.subresource)
	return ok && sub.Connect
}

// auditDecision records how a request was decided.
func auditDecision(ctx context.Context, allowed bool, reason string, err error) {
	rec := audit.FromContext(ctx)
	switch {
	case rec == nil:
	case allowed:
		rec.Annotate(annotationDecision, "allow")
		rec.Annotate(annotationReason, reason)
	case auth.Failure(err) != nil:
		rec.Annotate(annotationReason, "internal error")
	default:
		rec.Annotate(annotationDecision, "forbid")
		rec.Annotate(annotationReason, reason)
	}
}

// annotate adds to the request's audit event.
func (q *request) annotate(key, value string) { audit.AddAnnotation(q.ctx, key, value) }

// auditBody records the object that a request carries, as JSON.
func (q *request) auditBody(object []byte) {
	if q.server.cfg.Audit != nil {
		audit.FromContext(q.ctx).Request(object)
	}
}

// auditPatch records a patch. That of server-side apply may be YAML.
func (q *request) auditPatch(body []byte) {
	if q.server.cfg.Audit == nil {
		return
	}
	rec := audit.FromContext(q.ctx)
	if !rec.WantsRequest() {
		return
	}
	if !json.Valid(body) {
		asJSON, err := yaml.YAMLToJSON(body)
		if err != nil {
			return // it is refused for that
		}
		body = asJSON
	}
	rec.Patch(body)
}

// auditResponse records an answer, as JSON.
func (q *request) auditResponse(gvk schema.GroupVersionKind, data []byte) {
	if q.server.cfg.Audit == nil || data == nil {
		return
	}
	rec := audit.FromContext(q.ctx)
	if rec != nil && gvk == statusGVK {
		var st metav1.Status
		if json.Unmarshal(data, &st) == nil {
			rec.Status(&st)
		}
	}
	rec.Response(data)
}

// auditList records the answer to a list, which is not in one piece otherwise.
func (q *request) auditList(l listed, meta *metav1.ListMeta) error {
	if q.server.cfg.Audit == nil || !audit.FromContext(q.ctx).WantsResponse() {
		return nil
	}
	b, tail, item, err := q.listForm(meta)
	if err != nil {
		return err
	}
	for i := range l.objects {
		if i > 0 {
			b = append(b, ',')
		}
		if b, err = item(b, l.objects[i]); err != nil {
			return err
		}
	}
	audit.FromContext(q.ctx).Response(append(b, tail...))
	return nil
}

// auditStatus records the Status that a request ends in.
func auditStatus(w http.ResponseWriter, st *metav1.Status) {
	rec, ok := w.(*recorder)
	if !ok || rec.audit == nil {
		return
	}
	rec.audit.Status(st)
	if rec.audit.WantsResponse() {
		if data, err := json.Marshal(st); err == nil {
			rec.audit.Response(data)
		}
	}
}

// auditedStream notices that a connection is taken over for a byte stream.
type auditedStream struct{ *recorder }

// Hijack implements http.Hijacker.
func (s auditedStream) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(s.ResponseWriter).Hijack()
	if err == nil {
		s.code = http.StatusSwitchingProtocols
		s.audit.Started(s.code)
	} else if errors.Is(err, http.ErrNotSupported) {
		err = http.ErrNotSupported // by identity, as some ask for it
	}
	return conn, rw, err
}

// streamWriter is what a request is answered through that may become a byte stream.
func streamWriter(w http.ResponseWriter) http.ResponseWriter {
	if rec, ok := w.(*recorder); ok && rec.audit != nil {
		return auditedStream{rec}
	}
	return w
}
