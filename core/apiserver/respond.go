package apiserver

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"github.com/pintle-dev/pintle/core/apiserver/internal/jsontree"
	"github.com/pintle-dev/pintle/core/apiserver/internal/media"
	"github.com/pintle-dev/pintle/core/apiserver/internal/protobuf"
	"github.com/pintle-dev/pintle/core/apiserver/internal/table"
)

var partialGVK = schema.GroupVersionKind{Group: "meta.k8s.io", Version: "v1", Kind: "PartialObjectMetadata"}

// respondObject answers with an object of the request's kind, given as JSON in its
// version, in the negotiated form.
func (q *request) respondObject(code int, data []byte) error {
	switch q.accept.View {
	case media.Metadata:
		return q.respondAs(code, partialGVK, table.Partial(nil, data, q.accept.Version), nil)
	case media.Table:
		b, err := q.tableOf(data, true)
		if err != nil {
			return err
		}
		return q.respondAs(code, schema.GroupVersionKind{}, b, nil)
	}
	return q.respondAs(code, q.kind.GVK, data, nil)
}

// respondAs answers with JSON of a kind in the negotiated format. raw, where it is not
// nil, is the message in protobuf.
func (q *request) respondAs(code int, gvk schema.GroupVersionKind, data, raw []byte) error {
	if q.op != nil {
		q.op.code = code
		return nil
	}
	q.auditResponse(gvk, data)
	switch q.accept.Format {
	case media.Protobuf:
		var err error
		if raw == nil {
			if raw, err = q.server.protobufOf(gvk, data); err != nil {
				return err
			}
		}
		if data, err = protobuf.Envelope(gvk, raw); err != nil {
			return err
		}
	case media.YAML:
		var err error
		if data, err = yaml.JSONToYAML(data); err != nil {
			return fmt.Errorf("encode as YAML: %w", err)
		}
	default:
		if q.accept.Pretty {
			var b bytes.Buffer
			if err := json.Indent(&b, data, "", "  "); err == nil {
				data = b.Bytes()
			}
		}
	}
	q.write(code, q.accept.ContentType(), data)
	return nil
}

func (s *Server) protobufOf(gvk schema.GroupVersionKind, data []byte) ([]byte, error) {
	switch gvk {
	case partialGVK:
		return protobuf.Metadata(data)
	case statusGVK:
		var st metav1.Status
		if err := json.Unmarshal(data, &st); err != nil {
			return nil, fmt.Errorf("encode a status: %w", err)
		}
		return st.Marshal()
	}
	return protobuf.GoTypes(s.cfg.GoTypes).Raw(gvk, data)
}

// write sends a whole answer.
func (q *request) write(code int, contentType string, data []byte) {
	h := q.w.Header()
	h.Set("Content-Type", contentType)
	q.writeWarnings()
	q.wrote = true
	if len(data) > bufferedBytes {
		defer q.boundAnswer()()
	}
	if q.compress(len(data)) {
		h.Set("Content-Encoding", "gzip")
		h.Add("Vary", "Accept-Encoding")
		q.w.WriteHeader(code)
		z := gzipWriter(q.w)
		_, _ = z.Write(data)
		putGzip(z)
		return
	}
	h.Set("Content-Length", strconv.Itoa(len(data)))
	q.w.WriteHeader(code)
	if q.r.Method != http.MethodHead {
		_, _ = q.w.Write(data)
	}
}

var statusGVK = schema.GroupVersionKind{Version: "v1", Kind: "Status"}

// respondTree answers with a tree, such as a hook returns.
func (q *request) respondTree(code int, gvk schema.GroupVersionKind, tree map[string]any) error {
	return q.respondAs(code, gvk, jsontree.Append(nil, tree), nil)
}

// respondSuccess answers with a Status of success.
func (q *request) respondSuccess(code int, details *metav1.StatusDetails) error {
	s := metav1.Status{TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusSuccess, Details: details}
	if code == http.StatusCreated {
		s.Code = http.StatusCreated
	}
	data, err := json.Marshal(&s)
	if err != nil {
		return fmt.Errorf("encode a status: %w", err)
	}
	if q.accept.View != media.Full {
		q.accept.View = media.Full
	}
	return q.respondAs(code, statusGVK, data, nil)
}

// respondError answers with the Status of an error.
func (s *Server) respondError(w http.ResponseWriter, r *http.Request, err error) {
	st := toStatus(err)
	if st.Code == 0 {
		st.Code = http.StatusInternalServerError
	}
	// Failures without a reason are those that upstream makes of some of a client's mistakes.
	if st.Code >= 500 && st.Reason != "" && r.Context().Err() == nil {
		s.log.Error("request failed", "method", r.Method, "path", r.URL.Path, "error", err)
	}
	auditStatus(w, st)
	h := w.Header()
	if st.Details != nil && st.Details.RetryAfterSeconds > 0 {
		h.Set("Retry-After", strconv.Itoa(int(st.Details.RetryAfterSeconds)))
	}
	if err == errTooManyRequests { //nolint:errorlint // evictions that are refused are no such error, whatever they wrap
		http.Error(w, st.Message, int(st.Code))
		return
	}
	a, ok := media.Negotiate(r.Header.Get("Accept"), media.Offer{Protobuf: true, Views: true})
	if !ok {
		a = media.Accept{}
	}
	var data []byte
	var encodeErr error
	switch a.Format {
	case media.Protobuf:
		data, encodeErr = protobuf.Status(st)
	case media.YAML:
		data, encodeErr = yaml.Marshal(st)
	default:
		data, encodeErr = json.Marshal(st)
	}
	if encodeErr != nil {
		s.log.Error("can't encode a status", "error", encodeErr)
	}
	h.Set("Content-Type", a.ContentType())
	h.Set("Content-Length", strconv.Itoa(len(data)))
	w.WriteHeader(int(st.Code))
	_, _ = w.Write(data)
}
