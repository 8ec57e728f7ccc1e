package differential

import (
	"net/http"
	"testing"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/pintle-dev/pintle/core/apiserver"
	"github.com/pintle-dev/pintle/plugins/kubeapi"
	"github.com/pintle-dev/pintle/test/inprocess"
)

// pintle starts a server, which ends with the test.
func pintle(tb testing.TB) server {
	tb.Helper()
	s := inprocess.Start(tb, apiserver.Config{}, kubeapi.Options{})
	return server{url: s.URL, client: plainClient(&http.Client{})}
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
