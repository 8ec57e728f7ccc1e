package openapi

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	runtimeschema "k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/kube-openapi/pkg/validation/spec"

	"github.com/pintle-dev/pintle/core/apiserver/aggregation"
	"github.com/pintle-dev/pintle/crd/registry"
	"github.com/pintle-dev/pintle/crd/schema"
)

// Source has the types; the registry implements it.
type Source interface {
	Snapshot() *registry.Snapshot
}

// Others are the APIs of other servers; *aggregation.Aggregator implements it.
type Others interface {
	// Discovery returns another pointer after every change; nil before it is known.
	Discovery() *aggregation.Discovery
	// OpenAPIV2 returns the documents of version 2 that the other servers have, each
	// limited to what is theirs. Servers that do not answer are left out.
	OpenAPIV2(ctx context.Context) []*spec.Swagger
}

// Config of a Handler.
type Config struct {
	Types Source
	// Others may be nil. Their documents of version 3 are asked for at themselves.
	Others Others
	// Describe returns a component with descriptions filled in ("io.k8s.api.core.v1.Pod");
	// it must not change the schema it is given. Nil means that schemas are served as
	// they are.
	Describe func(component string, s *schema.Schema) *schema.Schema
	// Version of the server, shown in documents.
	Version string
	// MaxBytes bounds the documents that are kept; 0 means 32 MiB.
	MaxBytes int
	// IdleAfter is how long after the last request documents are let go; 0 means 2 min.
	IdleAfter time.Duration
}

// Handler serves /openapi/v2, /openapi/v3 and /openapi/v3/….
type Handler struct {
	cfg   Config
	state atomic.Pointer[state]
	docs  *cache
	// building lets one document be made at a time: the memory it takes while it is made
	// is a multiple of what is kept.
	building sync.Mutex
}

var _ http.Handler = (*Handler)(nil)

// New returns a Handler.
func New(cfg Config) *Handler {
	if cfg.MaxBytes == 0 {
		cfg.MaxBytes = 32 << 20
	}
	if cfg.IdleAfter == 0 {
		cfg.IdleAfter = 2 * time.Minute
	}
	return &Handler{cfg: cfg, docs: newCache(cfg.MaxBytes, cfg.IdleAfter)}
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "only GET and HEAD are allowed here", http.StatusMethodNotAllowed)
		return
	}
	var err error
	switch path := strings.TrimRight(r.URL.Path, "/"); {
	case path == "/openapi/v2":
		err = h.serveV2(w, r)
	case path == "/openapi/v3":
		err = h.serveIndex(w, r)
	case strings.HasPrefix(path, "/openapi/v3/"):
		err = h.serveV3(w, r, strings.TrimPrefix(path, "/openapi/v3/"))
	default:
		http.NotFound(w, r)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}

// groupVersion is one of the documents of version 3.
type groupVersion struct {
	// id as in the index: "api/v1", "apis/apps/v1".
	id             string
	group, version string
	types          []*registry.Type
}

// groupVersions of a snapshot, in its order.
func groupVersions(s *registry.Snapshot) []groupVersion {
	var out []groupVersion
	for _, g := range s.Groups {
		for _, v := range g.Versions {
			gv := runtimeschema.GroupVersion{Group: g.Name, Version: v.Version}
			out = append(out, groupVersion{documentID(gv), g.Name, v.Version, v.Types})
		}
	}
	return out
}

func documentID(gv runtimeschema.GroupVersion) string {
	if gv.Group == "" {
		return "api/" + gv.Version
	}
	return "apis/" + gv.Group + "/" + gv.Version
}

// render returns a document from the cache or makes it.
func (h *Handler) render(id, hash string, produce func() ([]byte, error)) ([]byte, error) {
	key := docKey{id, hash}
	if body, ok := h.docs.get(key); ok {
		return body, nil
	}
	h.building.Lock()
	defer h.building.Unlock()
	if body, ok := h.docs.get(key); ok {
		return body, nil
	}
	body, err := produce()
	if err != nil {
		return nil, fmt.Errorf("build OpenAPI document %s: %w", id, err)
	}
	h.docs.put(key, body)
	return body, nil
}
