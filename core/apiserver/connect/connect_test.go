package connect_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pintle-dev/pintle/core/apiserver/apiservertest"
	"github.com/pintle-dev/pintle/core/apiserver/connect"
	"github.com/pintle-dev/pintle/core/auth/pki"
	"github.com/pintle-dev/pintle/core/store"
)

// objects are stored objects by key.
type objects map[store.Key]string

func (o objects) Get(_ context.Context, key store.Key) (store.Object, error) {
	if data, ok := o[key]; ok {
		return store.Object{Key: key, Data: []byte(data)}, nil
	}
	return store.Object{}, store.ErrNotFound
}

func (o objects) List(_ context.Context, prefix store.Key, _ store.ListOptions) (store.Snapshot, error) {
	var s store.Snapshot
	for key, data := range o {
		if strings.HasPrefix(string(key), string(prefix)) {
			s.Objects = append(s.Objects, store.Object{Key: key, Data: []byte(data)})
		}
	}
	return s, nil
}

type fixture struct {
	objects objects
	api     *httptest.Server
	agent   *httptest.Server
	ca      *pki.Authority
}

// newFixture is an API server and a node agent, which demands the API server's client
// certificate and is handled by agent.
func newFixture(t *testing.T, agent http.HandlerFunc) *fixture {
	t.Helper()
	ca, err := pki.Open(pki.Config{Dir: t.TempDir(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{ca: ca, agent: agentServer(t, ca, "n1", agent)}
	client, err := ca.KubeletClient()
	if err != nil {
		t.Fatal(err)
	}
	f.objects = objects{
		"pods/ns/one":         `{"metadata":{"name":"one","namespace":"ns"},"spec":{"nodeName":"n1","containers":[{"name":"main"}],"initContainers":[{"name":"init"}]}}`,
		"pods/ns/two":         `{"metadata":{"name":"two","namespace":"ns"},"spec":{"nodeName":"n1","containers":[{"name":"a"},{"name":"b"}],"ephemeralContainers":[{"name":"debug"}]}}`,
		"pods/ns/pending":     `{"metadata":{"name":"pending","namespace":"ns"},"spec":{"containers":[{"name":"main"}]}}`,
		"pods/ns/lost":        `{"metadata":{"name":"lost","namespace":"ns"},"spec":{"nodeName":"gone","containers":[{"name":"main"}]}}`,
		"pods/ns/elsewhere":   `{"metadata":{"name":"elsewhere","namespace":"ns"},"spec":{"nodeName":"n2","containers":[{"name":"main"}]}}`,
		"pods/ns/addressless": `{"metadata":{"name":"addressless","namespace":"ns"},"spec":{"nodeName":"n3","containers":[{"name":"main"}]}}`,
		"nodes//n1":           node(f.agent.Listener.Addr()),
		"nodes//n2":           node(f.agent.Listener.Addr()), // n1's agent answers there
		"nodes//n3":           `{"status":{}}`,
	}
	h, err := connect.New(connect.Config{Objects: f.objects, Logger: slog.New(slog.DiscardHandler),
		TLS: &tls.Config{Certificates: []tls.Certificate{client.TLS()}, RootCAs: ca.Pool()}})
	if err != nil {
		t.Fatal(err)
	}
	f.api = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// As the API server routes: /api/v1[/namespaces/NS]/RESOURCE/NAME/SUB[/PATH].
		parts := strings.SplitN(strings.TrimPrefix(r.URL.Path, "/api/v1/"), "/", 6)
		c := connect.Request{}
		if parts[0] == "namespaces" {
			c.Namespace, parts = parts[1], parts[2:]
		}
		c.Resource, c.Name = parts[0], parts[1]
		var rest string
		c.Subresource, rest, _ = strings.Cut(strings.Join(parts[2:], "/"), "/")
		if strings.HasSuffix(r.URL.Path, "/"+rest) && !strings.HasSuffix(r.URL.Path, "/"+c.Subresource) {
			c.Path = "/" + rest
		}
		h.Serve(wrapped{w}, r, c)
	}))
	t.Cleanup(f.api.Close)
	return f
}

// wrapped is a ResponseWriter as the API server's: all but the basics is behind Unwrap.
type wrapped struct{ http.ResponseWriter }

func (w wrapped) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func agentServer(t *testing.T, ca *pki.Authority, name string, handler http.HandlerFunc) *httptest.Server {
	t.Helper()
	serving, err := ca.NodeServing(name)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(handler)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{serving.TLS()}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: ca.Pool()}
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

func node(a net.Addr) string {
	host, port, _ := net.SplitHostPort(a.String())
	return fmt.Sprintf(`{"status":{"addresses":[{"type":"Hostname","address":"nowhere.invalid"},{"type":"InternalIP","address":%q}],"daemonEndpoints":{"kubeletEndpoint":{"Port":%s}}}}`, host, port)
}

// echo answers with what the agent was asked.
func echo(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/plain")
	fmt.Fprintf(w, "%s %s auth=%q", r.Method, r.URL.RequestURI(), r.Header.Get("Authorization"))
}

func TestLogs(t *testing.T) {
	f := newFixture(t, echo)
	const pods = "/api/v1/namespaces/ns/pods/"
	for _, c := range []struct {
		path string
		code int
		want string
	}{
		{pods + "one/log", 200, `GET /containerLogs/ns/one/main auth=""`},
		{pods + "one/log?container=init&follow=true&previous=false&tailLines=5&timestamps=1&limitBytes=9&pretty=true", 200, `GET /containerLogs/ns/one/init?follow=true&limitBytes=9&tailLines=5&timestamps=true auth=""`},
		{pods + "one/log?sinceTime=2026-01-02T03:04:05Z&stream=Stdout", 200, `sinceTime=2026-01-02T03%3A04%3A05Z&stream=Stdout`},
		{pods + "two/log", 400, "a container name must be specified for pod two, choose one of: [a b debug]"},
		{pods + "two/log?container=debug", 200, "/containerLogs/ns/two/debug"},
		{pods + "two/log?container=c", 400, "container c is not valid for pod two"},
		{pods + "none/log", 404, `pods "none" not found`},
		{pods + "pending/log", 200, ""},
		{pods + "lost/log", 404, `nodes "gone" not found`},
		{pods + "elsewhere/log", 500, "neither for node n2 nor for its address"},
		{pods + "addressless/log", 500, "no preferred addresses found"},
		{pods + "one/log?tailLines=-1", 422, "tailLines: Invalid value: -1: must be greater than or equal to 0"},
		{pods + "one/log?sinceSeconds=0", 422, "sinceSeconds: Invalid value: 0: must be greater than 0"},
		{pods + "one/log?sinceSeconds=5&sinceTime=2026-01-02T03:04:05Z", 422, "at most one of `sinceTime` or `sinceSeconds` may be specified"},
		{pods + "one/log?tailLines=many", 400, `"many" is not a number`},
		{pods + "one/log?stream=Both", 422, "stream: Unsupported value"},
		{pods + "one/exec?command=ls&stdout=1", 400, "Upgrade request required"},
		{pods + "one/nothing", 404, "not found"},
	} {
		t.Run(c.path, func(t *testing.T) {
			resp := apiservertest.Get(t, f.api.URL+c.path, "Authorization", "Bearer secret")
			if resp.Code != c.code {
				t.Errorf("%d, want %d: %s", resp.Code, c.code, resp.Body)
			}
			if c.code == 200 {
				if !strings.Contains(string(resp.Body), c.want) {
					t.Errorf("body %q, want %q", resp.Body, c.want)
				}
				return
			}
			var status metav1.Status
			if err := json.Unmarshal(resp.Body, &status); err != nil || !strings.Contains(status.Message, c.want) || status.Kind != "Status" {
				t.Errorf("status %s (%v), want %q", resp.Body, err, c.want)
			}
		})
	}
}

func TestAgentsErrorsBecomeStatuses(t *testing.T) {
	f := newFixture(t, func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, `container "main" in pod "one" is waiting to start: ContainerCreating`, http.StatusBadRequest)
	})
	resp := apiservertest.Get(t, f.api.URL+"/api/v1/namespaces/ns/pods/one/log")
	var status metav1.Status
	if err := json.Unmarshal(resp.Body, &status); err != nil || resp.Code != http.StatusBadRequest || status.Reason != metav1.StatusReasonBadRequest ||
		status.Message != `container "main" in pod "one" is waiting to start: ContainerCreating` {
		t.Errorf("%d %s", resp.Code, resp.Body)
	}
	f.agent.Close()
	resp = apiservertest.Get(t, f.api.URL+"/api/v1/namespaces/ns/pods/one/log")
	if resp.Code != http.StatusInternalServerError || !strings.Contains(string(resp.Body), "error dialing backend") {
		t.Errorf("%d %s", resp.Code, resp.Body)
	}
}

// Lines come as they are written, and the agent learns that the client has gone.
func TestFollowedLogStreams(t *testing.T) {
	next, gone := make(chan string), make(chan struct{})
	f := newFixture(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusOK)
		for {
			select {
			case line := <-next:
				fmt.Fprintln(w, line)
				w.(http.Flusher).Flush()
			case <-r.Context().Done():
				close(gone)
				return
			}
		}
	})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, f.api.URL+"/api/v1/namespaces/ns/pods/one/log?follow=true", nil)
	if err != nil {
		t.Fatal(err)
	}
	go func() { next <- "first" }()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	for _, want := range []string{"first", "second", "third"} {
		if want != "first" {
			next <- want
		}
		if !lines.Scan() || lines.Text() != want {
			t.Fatalf("line %q, want %q", lines.Text(), want)
		}
	}
	cancel()
	select {
	case <-gone:
	case <-time.After(10 * time.Second):
		t.Error("the agent was not told")
	}
}

// Upgraded connections are copied raw and each half is closed by itself.
func TestUpgradeIsRaw(t *testing.T) {
	f := newFixture(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.RequestURI() != "/portForward/ns/one?port=80%2C81" || r.Header.Get("Sec-Websocket-Protocol") != "x.k8s.io" {
			http.Error(w, r.URL.RequestURI()+" "+r.Header.Get("Sec-Websocket-Protocol"), http.StatusTeapot)
			return
		}
		conn, rw, err := w.(http.Hijacker).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		fmt.Fprint(rw, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: Raw/1\r\n\r\n")
		rw.Flush()
		data, _ := io.ReadAll(rw) // until the client closes its half
		fmt.Fprintf(conn, "got %s", data)
	})
	conn, err := net.Dial("tcp", f.api.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "GET /api/v1/namespaces/ns/pods/one/portforward?ports=80&ports=81 HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\nUpgrade: Raw/1\r\n"+
		"Sec-WebSocket-Protocol: x.k8s.io, base64url.bearer.authorization.k8s.io.c2VjcmV0\r\n\r\n")
	r := bufio.NewReader(conn)
	resp, err := http.ReadResponse(r, nil)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		body, _ := io.ReadAll(resp.Body)
		t.Fatalf("%v %v %s", resp.Status, err, body)
	}
	fmt.Fprint(conn, "\x00binary\xff")
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(r)
	if err != nil || string(answer) != "got \x00binary\xff" {
		t.Errorf("%q %v", answer, err)
	}
}

func TestProxies(t *testing.T) {
	f := newFixture(t, echo)
	addr := f.agent.Listener.Addr().(*net.TCPAddr)
	f.objects["pods/ns/web"] = `{"spec":{"nodeName":"n1","containers":[{"name":"c","ports":[{"containerPort":80}]}]},"status":{"podIP":"127.0.0.1","podIPs":[{"ip":"127.0.0.1"}]}}`
	f.objects["services/ns/web"] = `{"spec":{"ports":[{"name":"http","port":80}]}}`
	f.objects["services/ns/empty"] = `{"spec":{"ports":[{"name":"http","port":80}]}}`
	f.objects["endpoints/ns/web"] = `{"subsets":[{"addresses":[{"ip":"127.0.0.1","targetRef":{"kind":"Pod","namespace":"ns","name":"web"}},{"ip":"192.0.2.1"}],"ports":[{"name":"http","port":8080}]}]}`
	f.objects["endpoints/ns/empty"] = `{}`
	for _, c := range []struct {
		path string
		code int
		want string
	}{
		{"/api/v1/nodes/n1/proxy/healthz?x=1", 200, `GET /healthz?x=1 auth=""`},
		{fmt.Sprintf("/api/v1/nodes/https:n1:%d/proxy/stats/summary", addr.Port), 200, `GET /stats/summary auth=""`},
		{"/api/v1/nodes/n1/proxy", 301, ""},
		{"/api/v1/nodes/n1:22/proxy/", 400, "address not allowed"}, // a loopback address
		{"/api/v1/nodes/gone/proxy/", 404, `nodes "gone" not found`},
		{"/api/v1/nodes/a:b:c:d/proxy/", 400, "invalid node request"},
		{"/api/v1/namespaces/ns/pods/web/proxy/", 400, "address not allowed"},
		{"/api/v1/namespaces/ns/services/web:99/proxy/", 503, `no service port 99 found for service "web"`},
		{"/api/v1/namespaces/ns/services/web:80/proxy/", 503, "no endpoints available"}, // a loopback address is no pod's
		{"/api/v1/namespaces/ns/services/empty:http/proxy/", 503, `no endpoints available for service "empty:http"`},
	} {
		t.Run(c.path, func(t *testing.T) {
			resp := apiservertest.Get(t, f.api.URL+c.path, "Authorization", "Bearer secret", "Impersonate-User", "x")
			if resp.Code != c.code || !strings.Contains(string(resp.Body), c.want) && !strings.Contains(strings.ReplaceAll(string(resp.Body), `\"`, `"`), c.want) {
				t.Errorf("%d %s, want %d %s", resp.Code, resp.Body, c.code, c.want)
			}
			if c.code == 301 && resp.Header.Get("Location") != c.path+"/" {
				t.Errorf("redirected to %s", resp.Header.Get("Location"))
			}
		})
	}
}
