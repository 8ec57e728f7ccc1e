package aggregation_test

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clientdiscovery "k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/pintle-dev/pintle/core/apiserver"
	"github.com/pintle-dev/pintle/core/apiserver/aggregation"
	"github.com/pintle-dev/pintle/core/apiserver/apiservertest"
	"github.com/pintle-dev/pintle/core/apiserver/discovery"
	"github.com/pintle-dev/pintle/core/apiserver/openapi"
	"github.com/pintle-dev/pintle/core/auth"
	"github.com/pintle-dev/pintle/core/store/storetest"
	"github.com/pintle-dev/pintle/crd"
	"github.com/pintle-dev/pintle/crd/registry"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// ada is who asks, but for "nobody", who may do nothing.
type ada struct{}

func (ada) Authenticate(r *http.Request) (resource.User, bool, error) {
	return resource.User{Name: "ada", UID: "7", Groups: []string{"g1", "g2"}, Extra: map[string][]string{"a/b": {"x", "y"}}}, true, nil
}

func (ada) Authorize(_ context.Context, a auth.Attributes) (bool, string, error) {
	return a.Resource != "secrets" && !strings.Contains(a.Path, "secrets"), "", nil
}

func define(group, plural, kind string, scope crd.Scope) *crd.Definition {
	d := apiservertest.Type(group, plural, kind, scope, "")
	d.Versions[0].Status = true
	return d
}

// server is an API server with an aggregator.
type server struct {
	*apiservertest.Server
	t   testing.TB
	reg *registry.Registry
	agg *aggregation.Aggregator
}

func newServer(t testing.TB, proxies *authority) *server {
	t.Helper()
	st, reg := storetest.Open(t), registry.New()
	agg := aggregation.New(aggregation.Config{
		Store: st, Types: reg, CheckInterval: 200 * time.Millisecond,
		Priority: func(gv schema.GroupVersion) aggregation.Priority {
			if gv.Group == "" {
				return aggregation.Priority{Group: 18000, Version: 1}
			}
			return aggregation.Priority{Group: 1000, Version: 100}
		},
		ClientCertificate: func() (tls.Certificate, error) { return proxies.pair(t, "front-proxy-client"), nil },
	})
	api := apiservertest.Start(t, apiserver.Config{
		Store: st, Registry: reg, Authenticator: ada{}, Authorizer: ada{}, Aggregator: agg,
		Discovery: discovery.New(discovery.Config{Types: reg, Others: agg}),
		OpenAPI:   openapi.New(openapi.Config{Types: reg, Others: agg}),
	}, apiservertest.Bundle{Types: []*crd.Definition{
		define("", "namespaces", "Namespace", crd.ClusterScoped), define("", "services", "Service", crd.NamespaceScoped),
		define("discovery.k8s.io", "endpointslices", "EndpointSlice", crd.NamespaceScoped),
		define("apiregistration.k8s.io", "apiservices", "APIService", crd.ClusterScoped),
	}})
	apiservertest.Run(t, agg.Run)
	api.Must(201, "POST", "/api/v1/namespaces", `{"metadata":{"name":"ware"}}`)
	return &server{api, t, reg, agg}
}

func (s *server) do(method, path, body string, header ...string) (int, string) {
	s.t.Helper()
	a := s.Do(method, path, body, header...)
	return a.Code, string(a.Body)
}

func (s *server) must(code int, method, path, body string, header ...string) string {
	s.t.Helper()
	return string(s.Must(code, method, path, body, header...).Body)
}

const apiServices = "/apis/apiregistration.k8s.io/v1/apiservices"

// waitFor polls a condition of the API.
func (s *server) waitFor(what string, ok func() bool) {
	s.t.Helper()
	for deadline := time.Now().Add(15 * time.Second); !ok(); {
		if time.Now().After(deadline) {
			_, list := s.do("GET", apiServices, "")
			s.t.Fatalf("%s did not come about; APIServices: %s", what, list)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// availability returns status, reason and message of an APIService.
func (s *server) availability(name string) (status, reason, message string) {
	code, text := s.do("GET", apiServices+"/"+name, "")
	var o struct {
		Status struct {
			Conditions []metav1.Condition
		}
	}
	if code != http.StatusOK {
		return "", "", ""
	}
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		s.t.Fatal(err)
	}
	for _, c := range o.Status.Conditions {
		return string(c.Status), c.Reason, c.Message
	}
	return "", "", ""
}

func (s *server) reason(name, want string) {
	s.t.Helper()
	s.waitFor(name+" "+want, func() bool { _, reason, _ := s.availability(name); return reason == want })
}

func (s *server) service(port int) {
	s.must(201, "POST", "/api/v1/namespaces/ware/services", fmt.Sprintf(
		`{"apiVersion":"v1","kind":"Service","metadata":{"name":"api"},"spec":{"type":"ClusterIP","selector":{"a":"b"},"clusterIP":"192.0.2.9","ports":[{"name":"https","port":%d}]}}`, port))
}

func (s *server) slice(name string, ready bool, port int32) {
	s.must(201, "POST", "/apis/discovery.k8s.io/v1/namespaces/ware/endpointslices", fmt.Sprintf(
		`{"apiVersion":"discovery.k8s.io/v1","kind":"EndpointSlice","metadata":{"name":%q,"labels":{"kubernetes.io/service-name":"api"}},"addressType":"IPv4",
		 "endpoints":[{"addresses":["127.0.0.1"],"conditions":{"ready":%t}}],"ports":[{"name":"https","port":%d,"protocol":"TCP"}]}`, name, ready, port))
}

const wardle = "v1alpha1.wardle.example.com"

func (s *server) register(ca []byte, priority int) {
	s.must(201, "POST", apiServices, fmt.Sprintf(`{"apiVersion":"apiregistration.k8s.io/v1","kind":"APIService","metadata":{"name":%q},
	 "spec":{"group":"wardle.example.com","version":"v1alpha1","groupPriorityMinimum":%d,"versionPriority":15,"caBundle":%q,"service":{"namespace":"ware","name":"api","port":443}}}`,
		wardle, priority, base64.StdEncoding.EncodeToString(ca)))
}

// The condition follows the Service and its endpoints, in upstream's words.
func TestAvailability(t *testing.T) {
	serving, proxies := newAuthority(t), newAuthority(t)
	e, s := newExtension(t, serving, proxies), newServer(t, proxies)
	s.register(serving.pem, 2000)
	expect := func(reason, message string) {
		t.Helper()
		s.reason(wardle, reason)
		if _, _, text := s.availability(wardle); !strings.Contains(text, message) {
			t.Fatalf("%s: %q, want %q", reason, text, message)
		}
	}
	expect("ServiceNotFound", `service/api in "ware" is not present`)
	if code, text := s.do("GET", "/apis/wardle.example.com/v1alpha1/namespaces/default/flunders", ""); code != 503 || strings.TrimSpace(text) != "service unavailable" {
		t.Fatalf("%d %q", code, text)
	}
	s.service(8443)
	expect("ServicePortError", `service/api in "ware" is not listening on port 443`)
	s.must(200, "PATCH", "/api/v1/namespaces/ware/services/api", `{"spec":{"ports":[{"name":"https","port":443}]}}`, "Content-Type", "application/merge-patch+json")
	expect("EndpointsNotFound", `cannot find endpointslices for service/api in "ware"`)
	s.slice("api-1", false, e.port())
	expect("MissingEndpoints", `endpointslices for service/api in "ware" have no addresses with port name "https"`)
	e.set(func(e *extension) { e.broken = true })
	s.slice("api-2", true, e.port())
	expect("FailedDiscoveryCheck", "failing or missing response from https://127.0.0.1:")
	e.set(func(e *extension) { e.broken = false })
	expect("Passed", "all checks passed")
	s.must(200, "GET", "/apis/wardle.example.com/v1alpha1/namespaces/default/flunders", "")

	// Down again: stale in discovery, 503 for objects.
	e.set(func(e *extension) { e.broken = true })
	expect("FailedDiscoveryCheck", "bad status from https://127.0.0.1:")
	s.waitFor("stale discovery", func() bool {
		_, text := s.do("GET", "/apis", "", "Accept", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList")
		return strings.Contains(text, `"freshness":"Stale"`) && strings.Contains(text, `"resource":"flunders"`)
	})
	s.waitFor("503", func() bool { code, _ := s.do("GET", "/apis/wardle.example.com/v1alpha1", ""); return code == 503 })
	s.must(200, "DELETE", apiServices+"/"+wardle, "")
	s.waitFor("404", func() bool { code, _ := s.do("GET", "/apis/wardle.example.com/v1alpha1", ""); return code == 404 })
}

// client-go works with the other server's objects as with this one's.
func TestClientThroughProxy(t *testing.T) {
	serving, proxies := newAuthority(t), newAuthority(t)
	e, s := newExtension(t, serving, proxies), newServer(t, proxies)
	s.service(443)
	s.slice("api-1", true, e.port())
	s.register(serving.pem, 2000)
	s.reason(wardle, "Passed")
	ctx := t.Context()
	config := &rest.Config{Host: s.URL, BearerToken: "secret"}
	dyn, err := dynamic.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	flunders := dyn.Resource(schema.GroupVersionResource{Group: extensionGroup, Version: "v1alpha1", Resource: "flunders"}).Namespace("default")
	s.waitFor("objects", func() bool { _, err := flunders.Get(ctx, "a", metav1.GetOptions{}); return err == nil })
	h := e.header()
	if h.Get("X-Remote-User") != "ada" || h.Get("X-Remote-Uid") != "7" || !slices.Equal(h.Values("X-Remote-Group"), []string{"g1", "g2"}) ||
		!slices.Equal(h.Values("X-Remote-Extra-A%2fb"), []string{"x", "y"}) || h.Get("Authorization") != "" {
		t.Errorf("headers: %v", h)
	}
	list, err := flunders.List(ctx, metav1.ListOptions{})
	if err != nil || len(list.Items) != 2 {
		t.Fatalf("list: %v %v", list, err)
	}
	w, err := flunders.Watch(ctx, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"x", "y"} { // each arrives before the next is sent
		e.next <- name
		if ev := <-w.ResultChan(); ev.Object.(metav1.Object).GetName() != name {
			t.Fatalf("event %v", ev)
		}
	}
	w.Stop()

	// Nobody chooses who they are, and what this server forbids does not reach the other.
	s.must(200, "GET", "/apis/wardle.example.com/v1alpha1/namespaces/default/flunders/a", "",
		"X-Remote-User", "root", "X-Remote-Group", "system:masters", "X-Remote-Extra-Scopes", "all", "Impersonate-Nothing", "x")
	if h := e.header(); h.Get("X-Remote-User") != "ada" || len(h.Values("X-Remote-Group")) != 2 || h.Get("X-Remote-Extra-Scopes") != "" || h.Get("Impersonate-Nothing") != "" {
		t.Errorf("headers: %v", h)
	}
	s.must(403, "GET", "/apis/wardle.example.com/v1alpha1/namespaces/default/secrets/a", "")
	if code, text := s.do("GET", "/apis/wardle.example.com/v1alpha1/namespaces/default/others", ""); code != 404 || !strings.Contains(text, `"reason":"NotFound"`) {
		t.Errorf("%d %s", code, text)
	}
	e.set(func(e *extension) { e.redirect = true })
	if code, text := s.do("GET", "/apis/wardle.example.com/v1alpha1/namespaces/default/flunders/a", ""); code != 502 || !strings.Contains(text, "not permitted") {
		t.Errorf("redirect: %d %s", code, text)
	}
	e.set(func(e *extension) { e.redirect = false })

	// A server that does not answer holds nobody up for longer than a request may take.
	if code, text := s.do("GET", "/apis/wardle.example.com/v1alpha1/namespaces/default/flunders/never?timeout=100ms", ""); code != 504 ||
		!strings.Contains(text, "Timeout: request did not complete within requested timeout - context deadline exceeded") {
		t.Errorf("no answer: %d %s", code, text)
	}

	// A stream in both directions, as exec is.
	dialer := websocket.Dialer{Subprotocols: []string{"base64url.bearer.authorization.k8s.io.c2VjcmV0", "echo"}}
	conn, resp, err := dialer.Dial("ws"+strings.TrimPrefix(s.URL, "http")+"/apis/wardle.example.com/v1alpha1/namespaces/default/flunders/a/exec", nil)
	if err != nil {
		t.Fatalf("%v %v", err, resp)
	}
	defer conn.Close()
	if p := e.header().Get("Sec-Websocket-Protocol"); p != "echo" {
		t.Errorf("protocols %q reach the other server", p)
	}
	for _, text := range []string{"one", "two"} {
		if err := conn.WriteMessage(websocket.TextMessage, []byte(text)); err != nil {
			t.Fatal(err)
		}
		if _, data, err := conn.ReadMessage(); err != nil || string(data) != "echo "+text {
			t.Fatalf("%q %v", data, err)
		}
	}
}

// Discovery and OpenAPI show all servers as one.
func TestDocumentsAreMerged(t *testing.T) {
	serving, proxies := newAuthority(t), newAuthority(t)
	e, s := newExtension(t, serving, proxies), newServer(t, proxies)
	s.service(443)
	s.slice("api-1", true, e.port())
	s.register(serving.pem, 19000)
	s.reason(wardle, "Passed")
	s.waitFor("discovery", func() bool { _, text := s.do("GET", "/openapi/v3", ""); return strings.Contains(text, "hash=ABC") })
	client, err := clientdiscovery.NewDiscoveryClientForConfig(&rest.Config{Host: s.URL})
	if err != nil {
		t.Fatal(err)
	}
	for _, legacy := range []bool{false, true} {
		client.UseLegacyDiscovery = legacy
		groups, lists, err := client.ServerGroupsAndResources()
		if err != nil {
			t.Fatal(err)
		}
		if names := []string{groups[0].Name, groups[1].Name, groups[2].Name}; names[0] != "" || names[1] != extensionGroup {
			t.Errorf("legacy %t: groups %v; the one with the higher priority comes first", legacy, names)
		}
		found := ""
		for _, l := range lists {
			for _, r := range l.APIResources {
				if l.GroupVersion == "wardle.example.com/v1alpha1" {
					found += r.Name + "=" + r.Kind + " "
				}
			}
		}
		if found != "flunders=Flunder flunders/exec=FlunderOptions " {
			t.Errorf("legacy %t: %q", legacy, found)
		}
	}
	if text := s.must(200, "GET", "/apis/wardle.example.com", ""); !strings.Contains(text, `"preferredVersion":{"groupVersion":"wardle.example.com/v1alpha1"`) {
		t.Error(text)
	}
	if text := s.must(200, "GET", "/openapi/v3/apis/wardle.example.com/v1alpha1?hash=ABC", ""); !strings.Contains(text, `"asked":"hash=ABC"`) {
		t.Error(text)
	}
	text := s.must(200, "GET", "/openapi/v2", "")
	for _, want := range []string{"/apis/wardle.example.com/v1alpha1/flunders", `"Flunder"`, "/api/v1/namespaces/{namespace}/services"} {
		if !strings.Contains(text, want) {
			t.Errorf("OpenAPI v2 has no %s", want)
		}
	}
	if strings.Contains(text, "/healthz") {
		t.Error("paths that are not of the group version are merged")
	}
}

// A server whose certificate is not vouched for gets no request.
func TestUntrustedServer(t *testing.T) {
	serving, proxies := newAuthority(t), newAuthority(t)
	e, s := newExtension(t, serving, proxies), newServer(t, proxies)
	s.service(443)
	s.slice("api-1", true, e.port())
	s.register(newAuthority(t).pem, 2000)
	s.reason(wardle, "FailedDiscoveryCheck")
	if _, _, text := s.availability(wardle); !strings.Contains(text, "x509") {
		t.Error(text)
	}
	s.must(200, "PATCH", apiServices+"/"+wardle, `{"spec":{"caBundle":null,"insecureSkipTLSVerify":true}}`, "Content-Type", "application/merge-patch+json")
	s.reason(wardle, "Passed")
}

// Each group version that is served here has an APIService that says so.
func TestLocalAPIServices(t *testing.T) {
	s := newServer(t, newAuthority(t))
	s.reason("v1.", "Local")
	s.reason("v1.discovery.k8s.io", "Local")
	if text := s.must(200, "GET", apiServices+"/v1.", ""); !strings.Contains(text, `"kube-aggregator.kubernetes.io/automanaged":"onstart"`) ||
		!strings.Contains(text, `"spec":{"groupPriorityMinimum":18000,"version":"v1","versionPriority":1}`) {
		t.Error(text)
	}
	added := define("stable.example.com", "crontabs", "CronTab", crd.NamespaceScoped)
	added.Source = "crd:crontabs.stable.example.com"
	if err := s.reg.Register(added); err != nil {
		t.Fatal(err)
	}
	const name = "v1.stable.example.com"
	s.reason(name, "Local")
	if text := s.must(200, "GET", apiServices+"/"+name, ""); !strings.Contains(text, `"kube-aggregator.kubernetes.io/automanaged":"true"`) {
		t.Error(text)
	}
	// What is kept always is corrected, what a user has made is left alone.
	s.must(200, "PATCH", apiServices+"/"+name, `{"spec":{"versionPriority":7}}`, "Content-Type", "application/merge-patch+json")
	s.waitFor("correction", func() bool {
		return strings.Contains(s.must(200, "GET", apiServices+"/"+name, ""), `"versionPriority":100`)
	})
	s.must(200, "PATCH", apiServices+"/v1.", `{"spec":{"versionPriority":7}}`, "Content-Type", "application/merge-patch+json")
	s.must(201, "POST", apiServices, `{"apiVersion":"apiregistration.k8s.io/v1","kind":"APIService","metadata":{"name":"v9.mine.example.com"},"spec":{"group":"mine.example.com","version":"v9","groupPriorityMinimum":1,"versionPriority":1}}`)
	s.reason("v9.mine.example.com", "Local")
	s.must(200, "DELETE", apiServices+"/"+name, "")
	s.reason(name, "Local")
	s.reg.Remove(added.GroupResource())
	s.waitFor("removal", func() bool { code, _ := s.do("GET", apiServices+"/"+name, ""); return code == 404 })
	s.must(200, "GET", apiServices+"/v9.mine.example.com", "")
	if text := s.must(200, "GET", apiServices+"/v1.", ""); !strings.Contains(text, `"versionPriority":7`) {
		t.Error("what is kept on start only is corrected later")
	}
	if code, _ := s.do("GET", apiServices+"/v1.apiregistration.k8s.io", ""); code != 404 {
		t.Error("the APIServices have an APIService")
	}
}
