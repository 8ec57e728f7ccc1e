package audit

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/tidwall/gjson"
	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"

	"github.com/pintle-dev/pintle/sdk/resource"
)

// Record is what is recorded of one request. All methods may be called on nil, which is the
// record of a request that is not audited, and by several goroutines.
type Record struct {
	auditor *Auditor
	decision
	// stream is set for requests that last (watches, byte streams): the start of their
	// answer is a stage of its own.
	stream bool
	// refused is set for requests of nobody, whose only stage is ResponseStarted.
	refused bool

	mu    sync.Mutex
	event auditv1.Event
	begun bool // the stage ResponseStarted is past
}

type contextKey struct{}

// NewContext returns a context that carries r.
func NewContext(ctx context.Context, r *Record) context.Context {
	return context.WithValue(ctx, contextKey{}, r)
}

// FromContext returns the record of the request that ctx belongs to, or nil.
func FromContext(ctx context.Context) *Record {
	r, _ := ctx.Value(contextKey{}).(*Record)
	return r
}

// Events of requests that take longer than slow say how long.
const (
	slow            = 500 * time.Millisecond
	annotationTotal = "apiserver.latency.k8s.io/total"
)

// AddAnnotation adds to the audit event of the request that ctx belongs to, where there is
// one. Keys are qualified names ("pod-security.kubernetes.io/audit-violations"). The first
// value of a key stays.
func AddAnnotation(ctx context.Context, key, value string) { FromContext(ctx).Annotate(key, value) }

// Annotate is AddAnnotation for who has the record.
func (r *Record) Annotate(key, value string) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.annotate(key, value)
}

// annotate is Annotate for who holds mu.
func (r *Record) annotate(key, value string) {
	if old, ok := r.event.Annotations[key]; ok {
		if old != value {
			r.auditor.log.Warn("an audit annotation has a value already", "auditID", r.event.AuditID, "key", key, "kept", old, "refused", value)
		}
		return
	}
	if r.event.Annotations == nil {
		r.event.Annotations = map[string]string{}
	}
	r.event.Annotations[key] = value
}

// Impersonated says as whom the user acts; constraint is the verb by which constrained
// impersonation has allowed it, or "".
func (r *Record) Impersonated(as resource.User, constraint string) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	info := userInfo(as)
	r.event.ImpersonatedUser = &info
	if constraint != "" {
		r.event.AuthenticationMetadata = &auditv1.AuthenticationMetadata{ImpersonationConstraint: constraint}
	}
}

// WantsRequest and WantsResponse say whether the objects of the request are recorded.
func (r *Record) WantsRequest() bool {
	return r != nil && (r.level == auditv1.LevelRequest || r.level == auditv1.LevelRequestResponse)
}

// WantsResponse is WantsRequest for the answer.
func (r *Record) WantsResponse() bool { return r != nil && r.level == auditv1.LevelRequestResponse }

// Request records the object of a request, given as JSON. Its name completes the reference
// to the object, whatever the level.
func (r *Record) Request(object []byte) {
	if r == nil {
		return
	}
	if !json.Valid(object) {
		return
	}
	meta := gjson.GetManyBytes(object, "metadata.namespace", "metadata.name", "metadata.uid", "metadata.resourceVersion")
	r.mu.Lock()
	defer r.mu.Unlock()
	if ref := r.event.ObjectRef; ref != nil {
		for i, field := range []*string{&ref.Namespace, &ref.Name, (*string)(&ref.UID), &ref.ResourceVersion} {
			if *field == "" {
				*field = meta[i].String()
			}
		}
	}
	if r.WantsRequest() {
		r.event.RequestObject = r.unknown(object)
	}
}

// Patch records the body of a patch, given as JSON.
func (r *Record) Patch(body []byte) {
	if !r.WantsRequest() || !json.Valid(body) {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.event.RequestObject = &runtime.Unknown{Raw: slices.Clone(body), ContentType: runtime.ContentTypeJSON}
}

// Response records the object of an answer, given as JSON. A Status is recorded by Status,
// too.
func (r *Record) Response(object []byte) {
	if !r.WantsResponse() {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.event.ResponseObject = r.unknown(object)
}

// Status records the answer of a request that ends in a Status.
func (r *Record) Status(st *metav1.Status) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.event.ResponseStatus = &metav1.Status{Status: st.Status, Message: st.Message, Reason: st.Reason, Details: st.Details, Code: st.Code}
}

// unknown is an object as events carry it; the bytes may be used again by their owner.
func (r *Record) unknown(object []byte) *runtime.Unknown {
	if !json.Valid(object) {
		return nil // one bad value would cost the whole event
	}
	raw := slices.Clone(object)
	if r.omitManagedFields {
		raw = withoutManagedFields(raw)
	}
	return &runtime.Unknown{Raw: raw, ContentType: runtime.ContentTypeJSON}
}

// withoutManagedFields takes them from an object, from each of a list, and from the rows of
// a table. What can't be read stays as it is.
func withoutManagedFields(raw []byte) []byte {
	if !bytes.Contains(raw, []byte(`"managedFields"`)) {
		return raw
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var tree map[string]any
	if err := d.Decode(&tree); err != nil {
		return raw
	}
	drop := func(object any) {
		if o, ok := object.(map[string]any); ok {
			if meta, ok := o["metadata"].(map[string]any); ok {
				delete(meta, "managedFields")
			}
		}
	}
	drop(tree)
	items, _ := tree["items"].([]any)
	for _, item := range items {
		drop(item)
	}
	rows, _ := tree["rows"].([]any)
	for _, row := range rows {
		if row, ok := row.(map[string]any); ok {
			drop(row["object"])
		}
	}
	out, err := json.Marshal(tree)
	if err != nil {
		return raw
	}
	return out
}

// Started says that the answer begins with a status code.
func (r *Record) Started(code int) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.started(code)
}

func (r *Record) started(code int) {
	if r.begun {
		return
	}
	r.begun = true
	if r.event.ResponseStatus == nil {
		r.event.ResponseStatus = &metav1.Status{}
	}
	r.event.ResponseStatus.Code = int32(code) //nolint:gosec // a status code
	if r.stream {
		_ = r.stage(auditv1.StageResponseStarted) // the request is being served
	}
}

// Done says that the request is over. code is 0 where there was no answer; panicked is what
// recover gave.
func (r *Record) Done(code int, panicked any) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if panicked != nil {
		r.event.ResponseStatus = &metav1.Status{
			Code: http.StatusInternalServerError, Status: metav1.StatusFailure, Reason: metav1.StatusReasonInternalError,
			Message: fmt.Sprintf("APIServer panic'd: %v", panicked),
		}
		_ = r.stage(auditv1.StagePanic)
		return
	}
	if code == 0 {
		code = http.StatusOK
		r.event.ResponseStatus = &metav1.Status{Status: metav1.StatusSuccess, Message: "Connection closed early"}
	}
	r.started(code)
	if !r.refused {
		if took := r.auditor.now().Sub(r.event.RequestReceivedTimestamp.Time); took > slow {
			r.annotate(annotationTotal, took.String())
		}
		_ = r.stage(auditv1.StageResponseComplete)
	}
}

// stage sends the event as it is now; the caller holds mu. The error is a strict sink's.
func (r *Record) stage(s auditv1.Stage) error {
	if slices.Contains(r.omit, s) {
		return nil
	}
	r.event.Stage = s
	r.event.StageTimestamp = r.event.RequestReceivedTimestamp
	if s != auditv1.StageRequestReceived {
		r.event.StageTimestamp = metav1.NewMicroTime(r.auditor.now())
	}
	return r.auditor.send(&r.event)
}

func userInfo(u resource.User) authenticationv1.UserInfo {
	out := authenticationv1.UserInfo{Username: u.Name, UID: u.UID, Groups: u.Groups}
	for k, v := range u.Extra {
		if out.Extra == nil {
			out.Extra = make(map[string]authenticationv1.ExtraValue, len(u.Extra))
		}
		out.Extra[k] = v
	}
	return out
}

const (
	maxUserAgent    = 1024
	userAgentSuffix = "...TRUNCATED"
)

func userAgent(r *http.Request) string {
	agent := r.UserAgent()
	if len(agent) > maxUserAgent {
		return agent[:maxUserAgent] + userAgentSuffix
	}
	return agent
}

// received is when a request began.
func received(t time.Time) metav1.MicroTime { return metav1.NewMicroTime(t) }
