package apiserver

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/version"

	"github.com/pintle-dev/pintle/core/apiserver/customresources"
	"github.com/pintle-dev/pintle/core/audit"
	"github.com/pintle-dev/pintle/core/auth"
	"github.com/pintle-dev/pintle/core/store"
	"github.com/pintle-dev/pintle/crd"
	"github.com/pintle-dev/pintle/crd/registry"
	"github.com/pintle-dev/pintle/sdk/admission"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// Objects reads and writes objects; *store.Store implements it.
type Objects interface {
	Get(ctx context.Context, key store.Key) (store.Object, error)
	List(ctx context.Context, prefix store.Key, opts store.ListOptions) (store.Snapshot, error)
	Count(prefix store.Key) int
	Write(ctx context.Context, w store.Write) (store.Object, error)
	Transact(ctx context.Context, writes []store.Write) ([]store.Object, error)
}

// Log follows changes; *store.Store implements it.
type Log interface {
	Watch(ctx context.Context, prefix store.Key, after uint64) (*store.Watcher, error)
	Revision() uint64
	WaitFor(ctx context.Context, revision uint64) error
}

// Past knows what was; *store.Store implements it.
type Past interface {
	History(ctx context.Context, prefix store.Key, limit int) (store.History, error)
}

// Store is what the API server asks of the store.
type Store interface {
	Objects
	Log
	Past
}

// Authenticator says who asks. It returns false where the request carries no identity it
// knows, and an error where it carries one that is not valid.
type Authenticator interface {
	Authenticate(r *http.Request) (user resource.User, ok bool, err error)
}

// Authorizer says whether a request may be done.
type Authorizer interface {
	Authorize(ctx context.Context, a auth.Attributes) (allowed bool, reason string, err error)
}

// VersionConverter brings objects of one type into another version, one for each in their
// order; *conversion.Webhook implements it. It must not change what it is given.
type VersionConverter interface {
	Convert(ctx context.Context, objects []map[string]any, to schema.GroupVersionKind) ([]map[string]any, error)
}

// Aggregator serves what other servers do; *aggregation.Aggregator implements it.
type Aggregator interface {
	// Serves reports whether another server serves a path.
	Serves(path string) bool
	// Serve answers a request for such a path, which has been authorized for user, and
	// reports whether another server serves it still.
	Serve(w http.ResponseWriter, r *http.Request, user resource.User) bool
}

// ConnectFunc serves a byte-stream subresource (log, exec, proxy). The request has been
// authorized; a.Path is what follows the subresource in the URL's path, with its leading
// slash, and is empty for most.
type ConnectFunc func(w http.ResponseWriter, r *http.Request, a auth.Attributes)

// Check is a named readiness or liveness check.
type Check struct {
	Name string
	Run  func(ctx context.Context) error
}

// Limits bound what requests may cost. Zero values mean the defaults given.
type Limits struct {
	// BodyBytes of a request, 3 MiB.
	BodyBytes int64
	// MaxReads and MaxWrites in flight, 400 and 200; more are answered 429. Watches and
	// byte streams do not count. With Fairness they only matter by their sum, which the
	// caller gives it.
	MaxReads, MaxWrites int
	// RequestTimeout of a request that is no watch or byte stream, 60 s.
	RequestTimeout time.Duration
	// WatchTimeout is the shortest time a watch without timeoutSeconds lasts, 30 min; a
	// random time up to the same again is added.
	WatchTimeout time.Duration
	// GzipBytes is the size from which answers to clients on other machines are
	// compressed, 128 KiB; negative never.
	GzipBytes int
	// DerivedBytes bounds the memory for derived encodings (protobuf) that are kept,
	// 4 MiB.
	DerivedBytes int64
	// ShutdownTimeout bounds how long Serve waits for requests when it is told to end,
	// 10 s.
	ShutdownTimeout time.Duration
}

// WithDefaults returns the limits with what is not set.
func (l Limits) WithDefaults() Limits {
	set := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	setDuration := func(v *time.Duration, d time.Duration) {
		if *v == 0 {
			*v = d
		}
	}
	if l.BodyBytes == 0 {
		l.BodyBytes = 3 << 20
	}
	if l.DerivedBytes == 0 {
		l.DerivedBytes = 4 << 20
	}
	set(&l.MaxReads, 400)
	set(&l.MaxWrites, 200)
	set(&l.GzipBytes, 128<<10)
	setDuration(&l.RequestTimeout, time.Minute)
	setDuration(&l.WatchTimeout, 30*time.Minute)
	setDuration(&l.ShutdownTimeout, 10*time.Second)
	return l
}

// Config is what a [Server] is made of.
type Config struct {
	Store    Store
	Registry *registry.Registry

	// Authenticator and Authorizer; both are required.
	Authenticator Authenticator
	Authorizer    Authorizer

	// Discovery serves /api and /apis below no resource, OpenAPI serves /openapi/. nil
	// answers 404.
	Discovery http.Handler
	OpenAPI   http.Handler
	// Conversion returns what converts the objects of a definition whose strategy is
	// Webhook. nil: versions that differ can't be read and written.
	Conversion func(*crd.Definition) VersionConverter
	// Aggregator is asked before all else that is served; nil means that there are no other
	// servers.
	Aggregator Aggregator
	// Connect serves subresources marked Connect; nil answers 404.
	Connect ConnectFunc
	// Handlers serve further paths, after authorization, by exact path or, where the key
	// ends in a slash, by prefix (/openid/v1/jwks, /.well-known/…).
	Handlers map[string]http.Handler

	// GoTypes makes an empty value of a kind for protobuf: a type with Marshal and
	// Unmarshal. nil, or false, means that the kind has no protobuf. The server adds
	// CustomResourceDefinition itself.
	GoTypes func(schema.GroupVersionKind) (runtime.Object, bool)

	// NamespaceResource is the type whose objects are the namespaces of others. A create
	// in a namespace that does not exist, or that is being deleted, is refused; its
	// spec.finalizers count as finalizers. Empty: namespaces are not checked.
	NamespaceResource schema.GroupVersionResource

	// Mutators and Validators are asked about every write and byte stream, in order, after
	// the type's own hooks.
	Mutators   []admission.Mutator
	Validators []admission.Validator

	// Newest makes the local state the newest where a request needs that. nil means that it
	// always is, as it is with one voter.
	Newest Newest

	// Fairness admits requests; nil admits as many as Limits says, first come, first served.
	Fairness Fairness

	Limits Limits
	// TLS is used on listeners other than unix sockets. nil serves plain HTTP there, which
	// is for tests.
	TLS *tls.Config
	// Tracer makes spans of requests; nil makes none.
	Tracer trace.Tracer
	// Version is served at /version.
	Version version.Info
	// Ready and Live are checked by /readyz and /livez (and /healthz).
	Ready, Live []Check
	// Audit records requests; nil records nothing.
	Audit *audit.Auditor
	// Metrics receives the server's metrics and is served at /metrics. nil makes a
	// registry of its own.
	Metrics *prometheus.Registry
	// Profiling serves the runtime's profiles below /debug/pprof/.
	Profiling bool
	// Logger; nil discards.
	Logger *slog.Logger
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

func (c *Config) check() error {
	switch {
	case c.Store == nil:
		return errors.New("apiserver: Config.Store is required")
	case c.Registry == nil:
		return errors.New("apiserver: Config.Registry is required")
	case c.Authenticator == nil:
		return errors.New("apiserver: Config.Authenticator is required")
	case c.Authorizer == nil:
		return errors.New("apiserver: Config.Authorizer is required")
	}
	c.Limits = c.Limits.WithDefaults()
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Metrics == nil {
		c.Metrics = prometheus.NewRegistry()
	}
	given := c.GoTypes
	c.GoTypes = func(gvk schema.GroupVersionKind) (runtime.Object, bool) {
		if o, ok := customresources.GoType(gvk); ok || given == nil {
			return o, ok
		}
		return given(gvk)
	}
	return nil
}
