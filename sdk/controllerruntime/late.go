package controllerruntime

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// lateConfig is a way to the API server that is known later than the clients that use it: the
// manager is made when the plugin is configured, and told the way right behind that.
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

// patience is how long a request waits for the way to be known: of a host that does not tell it
// to all (see plugin.Reacher), what runs learns it right after it was configured. Requests of
// discovery have no deadline of their own.
const patience = time.Second

// errNoWay is what requests get where there is no way.
var errNoWay = errors.New("the plugin can reach the API server from a host that leads, which this one does not: hosts of newer versions let it from all")

// RoundTrip implements http.RoundTripper.
func (l *lateConfig) RoundTrip(r *http.Request) (*http.Response, error) {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-l.known:
	case <-timer.C:
		return nil, errNoWay
	case <-r.Context().Done():
		return nil, fmt.Errorf("%w: %w", errNoWay, r.Context().Err())
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

// lateCache makes caches in which indexes can be named before the API server can be asked which
// resource a type is, and which webhooks can read from on hosts on which the manager is never
// started. made gets the cache.
func lateCache(inner cache.NewCacheFunc, made func(*indexLater)) cache.NewCacheFunc {
	if inner == nil {
		inner = cache.New
	}
	return func(config *rest.Config, o cache.Options) (cache.Cache, error) {
		c, err := inner(config, o)
		if err != nil {
			return nil, err
		}
		later := &indexLater{Cache: c, ended: make(chan struct{})}
		made(later)
		return later, nil
	}
}

// indexLater is a cache that adds its indexes when it starts, and is started once.
type indexLater struct {
	cache.Cache
	once  sync.Once
	ended chan struct{} // closed when it has ended, with err
	err   error

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

// Start implements cache.Cache. Where it was begun before, it goes on until that ends.
func (c *indexLater) Start(ctx context.Context) error {
	c.begin(ctx, 0)
	select {
	case <-c.ended:
		return c.err
	case <-ctx.Done():
		return nil
	}
}

// begin starts the cache, which lasts until the first caller's context ends. Where retry is set,
// an API server that can't be asked for indexes is asked again after that time.
func (c *indexLater) begin(ctx context.Context, retry time.Duration) {
	c.once.Do(func() {
		go func() {
			defer close(c.ended)
			for c.err = c.index(ctx); c.err != nil && retry > 0; c.err = c.index(ctx) {
				select {
				case <-time.After(retry):
				case <-ctx.Done():
					return
				}
			}
			if c.err == nil {
				c.err = c.Cache.Start(ctx)
			}
		}()
	})
}

func (c *indexLater) index(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.started = true
	var errs []error
	c.indexes = slices.DeleteFunc(c.indexes, func(add func(context.Context) error) bool {
		err := add(ctx)
		errs = append(errs, err)
		return err == nil
	})
	return errors.Join(errs...)
}
