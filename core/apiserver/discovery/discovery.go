package discovery

import (
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/pintle-dev/pintle/core/apiserver/aggregation"
	"github.com/pintle-dev/pintle/crd/registry"
)

// Source has the types; the registry implements it.
type Source interface {
	Snapshot() *registry.Snapshot
}

// Others are the APIs of other servers; *aggregation.Aggregator implements it.
type Others interface {
	// Discovery returns another pointer after every change; nil before it is known.
	Discovery() *aggregation.Discovery
}

// Config of a Handler.
type Config struct {
	Types Source
	// Others may be nil.
	Others Others
	// Priority orders group versions that have no APIService yet; nil puts those that come
	// with the server first.
	Priority func(schema.GroupVersion) aggregation.Priority
	// ServerAddress is HOST:PORT at which clients reach this server, shown at /api.
	ServerAddress string
}

// Handler serves /api, /apis and the documents below them.
type Handler struct {
	cfg   Config
	state atomic.Pointer[state]
}

var _ http.Handler = (*Handler)(nil)

// New returns a Handler.
func New(cfg Config) *Handler { return &Handler{cfg: cfg} }

// state is what has been encoded for one snapshot of the registry and of the other servers.
type state struct {
	generation uint64
	others     *aggregation.Discovery
	groups     []group
	documents  sync.Map // of key to func() (*document, error)
}

// key names an encoding of a document.
type key struct {
	path       string
	format     format
	aggregated bool
}

// ServeHTTP implements http.Handler for exactly /api, /api/VERSION, /apis, /apis/GROUP and
// /apis/GROUP/VERSION; anything else is 404.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		fail(w, http.StatusMethodNotAllowed, metav1.StatusReasonMethodNotAllowed, "the server does not allow this method on the requested resource")
		return
	}
	path := strings.TrimRight(r.URL.Path, "/")
	accepted, ok := negotiate(r.Header.Values("Accept"), path == "/api" || path == "/apis")
	if !ok {
		fail(w, http.StatusNotAcceptable, metav1.StatusReasonNotAcceptable,
			"only the following media types are accepted: application/json, application/yaml, application/vnd.kubernetes.protobuf")
		return
	}
	s := h.current()
	object := h.build(s, path, accepted.aggregated)
	if object == nil {
		fail(w, http.StatusNotFound, metav1.StatusReasonNotFound, "the server could not find the requested resource")
		return
	}
	k := key{path, accepted.format, accepted.aggregated}
	once, ok := s.documents.Load(k)
	if !ok {
		once, _ = s.documents.LoadOrStore(k, sync.OnceValues(func() (*document, error) { return encode(object(), accepted) }))
	}
	doc, err := once.(func() (*document, error))()
	if err != nil {
		fail(w, http.StatusInternalServerError, metav1.StatusReasonInternalError, err.Error())
		return
	}
	doc.serve(w, r)
}

// current returns the state for what is served at present; what was encoded for an older
// one is dropped with it.
func (h *Handler) current() *state {
	var others *aggregation.Discovery
	if h.cfg.Others != nil {
		others = h.cfg.Others.Discovery()
	}
	snapshot := h.cfg.Types.Snapshot()
	for {
		old := h.state.Load()
		if old != nil && old.generation >= snapshot.Generation && old.others == others {
			return old
		}
		s := &state{generation: snapshot.Generation, others: others, groups: h.merge(snapshot, others)}
		if h.state.CompareAndSwap(old, s) {
			return s
		}
	}
}

func fail(w http.ResponseWriter, code int, reason metav1.StatusReason, message string) {
	var details *metav1.StatusDetails
	if code == http.StatusNotFound || code == http.StatusMethodNotAllowed {
		details = &metav1.StatusDetails{} // as upstream's router has them
	}
	body, err := json.Marshal(&metav1.Status{
		TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"},
		Status:   metav1.StatusFailure, Code: int32(code), Reason: reason, Message: message, Details: details,
	})
	if err != nil {
		http.Error(w, message, code)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_, _ = w.Write(body) // the client has gone; there is nobody to tell
}
