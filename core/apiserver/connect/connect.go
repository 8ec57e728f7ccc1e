package connect

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/pintle-dev/pintle/core/apiserver/backend"
	"github.com/pintle-dev/pintle/core/internal/status"
	"github.com/pintle-dev/pintle/core/store"
)

// Objects reads stored objects; the store implements it.
type Objects interface {
	Get(ctx context.Context, key store.Key) (store.Object, error)
	List(ctx context.Context, prefix store.Key, opts store.ListOptions) (store.Snapshot, error)
}

// Config of a Handler.
type Config struct {
	// Objects are the pods, nodes, services and their endpoints.
	Objects Objects
	// TLS calls node agents: the API server's client certificate and, in RootCAs, the CA
	// that their serving certificates are verified with.
	TLS *tls.Config
	// Logger; nil means slog.Default.
	Logger *slog.Logger
}

// Handler serves the subresources that are byte streams.
type Handler struct {
	objects  Objects
	services *backend.Resolver
	log      *slog.Logger
	tls      *tls.Config
	// agents reaches node agents, direct the addresses of pods.
	agents, direct http.RoundTripper
}

// New returns a Handler.
func New(cfg Config) (*Handler, error) {
	if cfg.Objects == nil || cfg.TLS == nil || cfg.TLS.RootCAs == nil {
		return nil, errors.New("connect: objects and a TLS configuration with RootCAs are needed")
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	return &Handler{objects: cfg.Objects, services: backend.NewResolver(cfg.Objects), log: cfg.Logger, tls: cfg.TLS, agents: agentTransport(cfg.TLS), direct: directTransport()}, nil
}

// Request names what is connected to; authorization has been done.
type Request struct {
	// Resource is pods, services or nodes.
	Resource string
	// Subresource is log, exec, attach, portforward or proxy.
	Subresource string
	Namespace   string
	// Name of the object; for proxy also NAME:PORT and SCHEME:NAME:PORT.
	Name string
	// Path is what follows "proxy" in the URL, with its leading slash, or "".
	Path string
}

// Serve answers a request and returns when the stream has ended. Errors are answered as a
// metav1.Status. Like httputil.ReverseProxy it panics with http.ErrAbortHandler where a
// stream breaks after its head has been sent.
func (h *Handler) Serve(w http.ResponseWriter, r *http.Request, c Request) {
	var err error
	switch c.Resource + "/" + c.Subresource {
	case "pods/log":
		err = h.logs(w, r, c)
	case "pods/exec", "pods/attach":
		err = h.stream(w, r, c)
	case "pods/portforward":
		err = h.portForward(w, r, c)
	case "pods/proxy":
		err = h.proxyPod(w, r, c)
	case "services/proxy":
		err = h.proxyService(w, r, c)
	case "nodes/proxy":
		err = h.proxyNode(w, r, c)
	default:
		err = apierrors.NewNotFound(schema.GroupResource{Resource: c.Resource + "/" + c.Subresource}, c.Name)
	}
	if err != nil {
		status.Write(w, err)
	}
}

// get reads an object into a typed value; NotFound where there is none.
func (h *Handler) get(ctx context.Context, resource, namespace, name string, into any) error {
	o, err := h.objects.Get(ctx, store.Key(resource+"/"+namespace+"/"+name))
	if errors.Is(err, store.ErrNotFound) {
		return apierrors.NewNotFound(schema.GroupResource{Resource: resource}, name)
	}
	if err != nil {
		return apierrors.NewInternalError(fmt.Errorf("read %s %q: %w", resource, name, err))
	}
	if err := json.Unmarshal(o.Data, into); err != nil {
		return apierrors.NewInternalError(fmt.Errorf("decode %s %q: %w", resource, name, err))
	}
	return nil
}
