package apiserver_test

import (
	"strings"
	"testing"
)

// A server that is about to stop says so to those who ask whether it is ready, and serves
// on.
func TestADrainingServerServesButIsNotReady(t *testing.T) {
	a := newAPI(t)
	if r := a.must(200, "GET", "/readyz?verbose", ""); !strings.Contains(string(r.body), "[+]shutdown ok") {
		t.Errorf("readyz before: %s", r.body)
	}
	a.server.Drain()
	a.server.Drain()
	if r := a.must(500, "GET", "/readyz", ""); !strings.Contains(string(r.body), "[-]shutdown failed: the server is shutting down") {
		t.Errorf("readyz of a draining server: %s", r.body)
	}
	a.must(200, "GET", "/livez", "")
	a.must(201, "POST", "/api/v1/namespaces/default/configmaps", `{"metadata":{"name":"late"}}`)
	if r := a.must(200, "GET", "/", ""); !strings.Contains(string(r.body), `"/readyz/ping"`) || !strings.Contains(string(r.body), `"/api/v1"`) {
		t.Errorf("paths: %s", r.body)
	}
}
