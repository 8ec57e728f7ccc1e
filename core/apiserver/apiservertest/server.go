package apiservertest

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/pintle-dev/pintle/core/apiserver"
	"github.com/pintle-dev/pintle/core/auth"
	"github.com/pintle-dev/pintle/core/store/storetest"
	"github.com/pintle-dev/pintle/crd/registry"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// Server is an API server that listens, with a client of it.
type Server struct {
	*Client
	API *apiserver.Server
}

// New makes an API server that serves the bundles. What cfg does not say is as most tests
// want it: a store of its own, no other types, Root as the one user, namespaces that are
// checked, and a log that is kept only where PINTLE_TEST_LOG is set.
func New(tb testing.TB, cfg apiserver.Config, bundles ...resource.Bundle) *apiserver.Server {
	tb.Helper()
	if cfg.Store == nil {
		cfg.Store = storetest.Open(tb)
	}
	if cfg.Registry == nil {
		cfg.Registry = registry.New()
	}
	if cfg.Authenticator == nil {
		cfg.Authenticator = Root{}
	}
	if cfg.Authorizer == nil {
		cfg.Authorizer = Root{}
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
		if os.Getenv("PINTLE_TEST_LOG") != "" {
			cfg.Logger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
		}
	}
	if cfg.NamespaceResource.Empty() {
		cfg.NamespaceResource = schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}
	}
	api, err := apiserver.New(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	for _, b := range bundles {
		if err := api.Install(b); err != nil {
			tb.Fatal(err)
		}
	}
	return api
}

// Start is New with a listener. It ends with the test, before what was there when it began.
func Start(tb testing.TB, cfg apiserver.Config, bundles ...resource.Bundle) *Server {
	tb.Helper()
	api := New(tb, cfg, bundles...)
	web := httptest.NewServer(api)
	tb.Cleanup(func() {
		web.CloseClientConnections()
		web.Close()
	})
	return &Server{NewClient(tb, web.URL), api}
}

// Run runs what works beside a server until the test ends, and wants no error of it.
func Run(tb testing.TB, run func(ctx context.Context) error) {
	tb.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx) }()
	tb.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			tb.Error(err)
		}
	})
}

// Root is everyone, and may do everything.
type Root struct{}

// Authenticate implements apiserver.Authenticator.
func (Root) Authenticate(*http.Request) (resource.User, bool, error) {
	return resource.User{Name: "admin", Groups: []string{auth.MastersGroup, "system:authenticated"}}, true, nil
}

// Authorize implements apiserver.Authorizer.
func (Root) Authorize(context.Context, auth.Attributes) (bool, string, error) { return true, "", nil }

// UserName is whom the X-User header of a request says, "root" without one, for the
// authenticators of tests that have several users.
func UserName(r *http.Request) string {
	if name := r.Header.Get("X-User"); name != "" {
		return name
	}
	return "root"
}
