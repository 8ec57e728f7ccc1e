package connect

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net/http"

	"github.com/pintle-dev/pintle/core/store"
)

// Getter reads stored objects; the store implements it.
type Getter interface {
	Get(ctx context.Context, key store.Key) (store.Object, error)
}

// Config of a Handler.
type Config struct {
	// Objects are the pods, nodes, services and endpoint slices.
	Objects Getter
	// TLS calls node agents: the API server's client certificate, and the CA that their
	// serving certificates are verified with.
	TLS *tls.Config
	// Logger; nil means slog.Default.
	Logger *slog.Logger
}

// Handler serves the subresources that are byte streams.
type Handler struct{}

// New returns a Handler.
func New(cfg Config) (*Handler, error) { return nil, errors.New("not yet") }

// Request names what is connected to; authorization has been done.
type Request struct {
	// Resource is pods, services or nodes.
	Resource string
	// Subresource is log, exec, attach, portforward or proxy.
	Subresource     string
	Namespace, Name string
	// Path is what follows "proxy" in the URL, with its leading slash, or "".
	Path string
}

// Serve answers a request. The handler writes errors as metav1.Status.
func (h *Handler) Serve(w http.ResponseWriter, r *http.Request, c Request) {}
