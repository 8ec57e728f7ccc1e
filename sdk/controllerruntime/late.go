package controllerruntime

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// lateConfig is a way to the API server that is known later than the clients that use it:
// webhooks are called on hosts that do not lead, and a manager is needed for them, but only
// a controller that runs has an identity.
type lateConfig struct {
	known chan struct{}
	once  sync.Once
	by    http.RoundTripper
	err   error
}

func newLateConfig() *lateConfig { return &lateConfig{known: make(chan struct{})} }

// config is for clients that are made before the way is known. Their requests wait for it.
func (l *lateConfig) config() *rest.Config {
	return &rest.Config{
		Host: "http://pintle", UserAgent: rest.DefaultKubernetesUserAgent(),
		QPS:       -1, // the server decides, by its priority levels
		Transport: l,
	}
}

// set makes the way known. The first call counts.
func (l *lateConfig) set(c *rest.Config) {
	l.once.Do(func() {
		if l.by, l.err = rest.TransportFor(c); l.err == nil {
			l.by, l.err = elsewhere(c, l.by)
		}
		close(l.known)
	})
}

// patience is how long a request waits for the way to be known: a plugin is called soon after
// it was configured, and run right behind that. Requests of discovery have no deadline of their
// own.
const patience = time.Second

// errNotLeading is what requests get where there is no way.
var errNotLeading = errors.New("the plugin can reach the API server from a host that leads, which this one does not")

// RoundTrip implements http.RoundTripper.
func (l *lateConfig) RoundTrip(r *http.Request) (*http.Response, error) {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-l.known:
	case <-timer.C:
		return nil, errNotLeading
	case <-r.Context().Done():
		return nil, fmt.Errorf("%w: %w", errNotLeading, r.Context().Err())
	}
	if l.err != nil {
		return nil, l.err
	}
	return l.by.RoundTrip(r) //nolint:wrapcheck // a transport's error is the client's to read
}

// elsewhere sends requests to the host of a configuration.
func elsewhere(c *rest.Config, by http.RoundTripper) (http.RoundTripper, error) {
	base, _, err := rest.DefaultServerUrlFor(c)
	if err != nil {
		return nil, fmt.Errorf("the API server's address: %w", err)
	}
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		r = r.Clone(r.Context())
		r.URL.Scheme, r.URL.Host, r.Host = base.Scheme, base.Host, ""
		return by.RoundTrip(r)
	}), nil
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// lateIndexes makes caches in which indexes can be named before the API server can be asked
// which resource a type is.
func lateIndexes(inner cache.NewCacheFunc) cache.NewCacheFunc {
	if inner == nil {
		inner = cache.New
	}
	return func(config *rest.Config, o cache.Options) (cache.Cache, error) {
		c, err := inner(config, o)
		if err != nil {
			return nil, err
		}
		return &indexLater{Cache: c}, nil
	}
}

// indexLater is a cache that adds its indexes when it starts.
type indexLater struct {
	cache.Cache
	mu      sync.Mutex
	started bool
	indexes []func(context.Context) error
}

// IndexField implements client.FieldIndexer.
func (c *indexLater) IndexField(ctx context.Context, o client.Object, field string, extract client.IndexerFunc) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.started {
		return c.Cache.IndexField(ctx, o, field, extract) //nolint:wrapcheck // the cache's own words
	}
	c.indexes = append(c.indexes, func(ctx context.Context) error {
		if err := c.Cache.IndexField(ctx, o, field, extract); err != nil {
			return fmt.Errorf("index %s of %T: %w", field, o, err)
		}
		return nil
	})
	return nil
}

// Start implements cache.Cache.
func (c *indexLater) Start(ctx context.Context) error {
	if err := c.index(ctx); err != nil {
		return err
	}
	return c.Cache.Start(ctx) //nolint:wrapcheck // as above
}

func (c *indexLater) index(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.started = true
	var errs []error
	for _, add := range c.indexes {
		errs = append(errs, add(ctx))
	}
	return errors.Join(errs...)
}
