package cache

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"sync"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
)

// Cache has the watches that the views of it need. It is safe for concurrent use.
type Cache struct {
	client *http.Client
	base   *url.URL
	agent  string
	log    *slog.Logger

	mu      sync.Mutex
	sources map[scope]*source
	start   func(*source) // nil until Run
}

// Query says which objects a view is of, and what of them.
type Query struct {
	// Resource is their type.
	Resource schema.GroupVersionResource
	// Namespace limits them to one; empty for all.
	Namespace string
	// Selector limits them by their labels; empty for all.
	Selector string
	// Fields are the paths of the fields that are read, such as "spec.nodeName" or
	// "metadata.labels", with all that is below. Dots in names are written "\.". Lists are
	// passed through: "spec.containers.image" is the image of each container. None: those
	// that the view's Go type has.
	//
	// The namespace and the name are always there.
	Fields []string
}

// scope is what one watch is for.
type scope struct {
	resource            schema.GroupVersionResource
	namespace, selector string
}

// New returns a cache of what an API server has. Nothing is asked before Run.
func New(config *rest.Config) (*Cache, error) {
	config = rest.CopyConfig(config)
	config.Timeout = 0 // watches last
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("cache: %w", err)
	}
	base, _, err := rest.DefaultServerUrlFor(config)
	if err != nil {
		return nil, fmt.Errorf("cache: %w", err)
	}
	agent := config.UserAgent
	if agent == "" {
		agent = rest.DefaultKubernetesUserAgent()
	}
	return &Cache{client: client, base: base, agent: agent, log: slog.Default(), sources: map[scope]*source{}}, nil
}

// Run watches until ctx is done, and then returns nil. Views that are made later are watched from
// then on.
func (c *Cache) Run(ctx context.Context) error {
	var all sync.WaitGroup
	c.mu.Lock()
	if c.start != nil {
		c.mu.Unlock()
		return errors.New("cache: Run was called before")
	}
	ended := false
	c.start = func(s *source) {
		if !ended {
			all.Go(func() { s.run(ctx) })
		}
	}
	for _, s := range c.sources {
		c.start(s)
	}
	c.mu.Unlock()
	<-ctx.Done()
	c.mu.Lock()
	ended = true
	c.mu.Unlock()
	all.Wait()
	return nil
}

// source returns the watch for a query, which has the fields of f from now on.
func (c *Cache) source(q Query, f *fields) *source {
	at := scope{q.Resource, q.Namespace, q.Selector}
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.sources[at]
	if s == nil {
		s = newSource(c, at)
		s.widen(f)
		c.sources[at] = s
		if c.start != nil {
			c.start(s)
		}
		return s
	}
	s.widen(f)
	return s
}
