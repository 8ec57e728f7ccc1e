package differential

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/pintle-dev/pintle/core/apiserver"
	"github.com/pintle-dev/pintle/core/apiserver/customresources"
	"github.com/pintle-dev/pintle/core/apiserver/discovery"
	"github.com/pintle-dev/pintle/core/auth"
	"github.com/pintle-dev/pintle/core/store"
	"github.com/pintle-dev/pintle/crd/registry"
	"github.com/pintle-dev/pintle/plugins/kubeapi"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// root is the one user, who may do everything.
type root struct{}

func (root) Authenticate(*http.Request) (resource.User, bool, error) {
	return resource.User{Name: "admin", Groups: []string{"system:masters", "system:authenticated"}}, true, nil
}

func (root) Authorize(context.Context, auth.Attributes) (bool, string, error) { return true, "", nil }

// pintle starts a server of all Kubernetes types and of custom resources, without
// controllers, which ends with the test.
func pintle(tb testing.TB) server {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	quiet := slog.New(slog.DiscardHandler)
	st, err := store.Open(ctx, store.Config{Dir: tb.TempDir(), Bootstrap: true, MinFreeBytes: 1 << 20, Logger: quiet})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = st.Close() })
	types := registry.New()
	api, err := apiserver.New(apiserver.Config{
		Store: st, Registry: types, Authenticator: root{}, Authorizer: root{}, GoTypes: kubeapi.GoType,
		Discovery:         discovery.New(discovery.Config{Types: types}),
		NamespaceResource: schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}, Logger: quiet,
	})
	if err != nil {
		tb.Fatal(err)
	}
	for _, b := range []resource.Bundle{kubeapi.New(kubeapi.Options{}), customresources.Bundle()} {
		if err := api.Install(b); err != nil {
			tb.Fatal(err)
		}
	}
	definitions := customresources.New(customresources.Config{Store: st, Registry: types, Purger: api, Logger: quiet})
	running, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = definitions.Run(running)
	}()
	tb.Cleanup(func() {
		stop()
		<-done
	})
	web := httptest.NewServer(api)
	tb.Cleanup(func() {
		web.CloseClientConnections()
		web.Close()
	})
	return server{url: web.URL, client: plainClient(web.Client())}
}

// upstream is the kube-apiserver of a kubeconfig.
func upstream(tb testing.TB, kubeconfig string) server {
	tb.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		tb.Fatal(err)
	}
	config.DisableCompression = true
	transport, err := rest.TransportFor(config)
	if err != nil {
		tb.Fatal(err)
	}
	return server{url: config.Host, client: plainClient(&http.Client{Transport: transport})}
}

// plainClient shows redirects, and does not wait for ever.
func plainClient(c *http.Client) *http.Client {
	c.Timeout = 20 * time.Second
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return c
}
