package openapi

import (
	"net/http"

	"github.com/pintle-dev/pintle/crd/registry"
	"github.com/pintle-dev/pintle/crd/schema"
)

// Source has the types; the registry implements it.
type Source interface {
	Snapshot() *registry.Snapshot
}

// Config of a Handler.
type Config struct {
	Types Source
	// Describe returns a component with descriptions filled in ("io.k8s.api.core.v1.Pod");
	// it must not change the schema it is given. Nil means that schemas are served as
	// they are.
	Describe func(component string, s *schema.Schema) *schema.Schema
	// Version of the server, shown in documents and part of their hashes.
	Version string
	// MaxBytes bounds the documents that are kept; 0 means 32 MiB.
	MaxBytes int
}

// Handler serves /openapi/v2, /openapi/v3 and /openapi/v3/….
type Handler struct{}

// New returns a Handler.
func New(cfg Config) *Handler { return &Handler{} }

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {}
