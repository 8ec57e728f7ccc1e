package connect_test

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/pintle-dev/pintle/core/apiserver/apiservertest"
)

// machineIP is an address of this machine that a pod could have.
func machineIP(t *testing.T) string {
	t.Helper()
	all, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range all {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil && n.IP.IsGlobalUnicast() {
			return n.IP.String()
		}
	}
	t.Skip("this machine has no address but loopback's")
	return ""
}

// Services are reached at the pods in their EndpointSlices, over either scheme; links and
// redirects lead through the proxy again.
func TestServiceProxy(t *testing.T) {
	f := newFixture(t, echo)
	ip := machineIP(t)
	page := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/away":
			http.Redirect(w, r, "/there?x=1", http.StatusFound)
		case "/page":
			w.Header().Set("Content-Type", "text/html")
			fmt.Fprint(w, `<html><body><a href="/link">x</a></body></html>`)
		default:
			fmt.Fprintf(w, "%s %s tls=%t", r.Method, r.URL.RequestURI(), r.TLS != nil)
		}
	})
	serve := func(secure bool) int {
		s := httptest.NewUnstartedServer(page)
		l, err := net.Listen("tcp", net.JoinHostPort(ip, "0"))
		if err != nil {
			t.Skipf("can't listen on %s: %v", ip, err)
		}
		_ = s.Listener.Close()
		s.Listener = l
		if secure {
			s.StartTLS()
		} else {
			s.Start()
		}
		t.Cleanup(s.Close)
		return l.Addr().(*net.TCPAddr).Port
	}
	plain, secure := serve(false), serve(true)
	f.objects["pods/ns/web"] = `{"metadata":{"name":"web"},"status":{"podIP":"` + ip + `","podIPs":[{"ip":"` + ip + `"}]}}`
	f.objects["services/ns/web"] = `{"spec":{"ports":[{"name":"http","port":80},{"name":"https","port":443}]}}`
	slice := func(address, pod string, ready bool, port int, name string) string {
		return fmt.Sprintf(`{"metadata":{"labels":{"kubernetes.io/service-name":"web"}},"addressType":"IPv4","ports":[{"name":%q,"port":%d}],
		 "endpoints":[{"addresses":[%q],"conditions":{"ready":%t},"targetRef":{"kind":"Pod","namespace":"ns","name":%q}}]}`, name, port, address, ready, pod)
	}
	f.objects["endpointslices.discovery.k8s.io/ns/web-1"] = slice(ip, "web", true, plain, "http")
	f.objects["endpointslices.discovery.k8s.io/ns/web-2"] = slice(ip, "web", true, secure, "https")
	f.objects["endpointslices.discovery.k8s.io/ns/web-3"] = slice(ip, "web", false, 1, "http")          // not ready
	f.objects["endpointslices.discovery.k8s.io/ns/web-4"] = slice("192.0.2.77", "web", true, 1, "http") // not what the pod has
	f.objects["endpointslices.discovery.k8s.io/ns/web-5"] = slice(ip, "gone", true, 1, "http")          // no pod
	f.objects["endpointslices.discovery.k8s.io/ns/other"] = strings.Replace(slice(ip, "web", true, 1, "http"), `"web"`, `"other"`, 1)
	const base = "/api/v1/namespaces/ns/services/"
	for _, c := range []struct {
		path string
		code int
		want string
	}{
		{base + "web:80/proxy/a/b?c=d", 200, "GET /a/b?c=d tls=false"},
		{base + "web:http/proxy/", 200, "GET / tls=false"},
		{base + "http:web:http/proxy/x", 200, "GET /x tls=false"},
		{base + "https:web:443/proxy/x", 200, "GET /x tls=true"},
		{base + "https:web:https/proxy/x", 200, "GET /x tls=true"},
		{base + "web:none/proxy/", 503, `no endpoints available for service \"web:none\"`},
		{base + "web:80/proxy", 301, ""},
		{base + "web:80/proxy/page", 200, `href="` + base + `web:80/proxy/link"`},
		{fmt.Sprintf("/api/v1/namespaces/ns/pods/web:%d/proxy/x", plain), 200, "GET /x tls=false"},
		{fmt.Sprintf("/api/v1/namespaces/ns/pods/https:web:%d/proxy/x", secure), 200, "GET /x tls=true"},
	} {
		for range 3 { // an endpoint is chosen at random
			if resp := apiservertest.Get(t, f.api.URL+c.path); resp.Code != c.code || !strings.Contains(string(resp.Body), c.want) {
				t.Errorf("%s: %d %s, want %d %s", c.path, resp.Code, resp.Body, c.code, c.want)
			}
		}
	}
	if resp := apiservertest.Get(t, f.api.URL+base+"web:80/proxy/away"); resp.Code != http.StatusFound || resp.Header.Get("Location") != base+"web:80/proxy/there?x=1" {
		t.Errorf("%d to %s", resp.Code, resp.Header.Get("Location"))
	}
}
