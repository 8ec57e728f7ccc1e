package aggregation_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/pintle-dev/pintle/core/apiserver/aggregation"
	"github.com/pintle-dev/pintle/crd"
)

// pluginServer is a plugin that serves flunders, as the host shows it.
type pluginServer struct {
	e *extension

	mu      sync.Mutex
	away    error
	changed chan struct{}
}

func newPluginServer(t *testing.T) *pluginServer {
	t.Helper()
	serving, proxies := newAuthority(t), newAuthority(t)
	p := &pluginServer{e: newExtension(t, serving, proxies), changed: make(chan struct{})}
	// Within the plugin's channel there is no TLS.
	p.e.trusts = true
	return p
}

func (p *pluginServer) Dial(context.Context) (net.Conn, error) {
	near, far := net.Pipe()
	go func() {
		_ = (&http.Server{Handler: http.HandlerFunc(p.e.serve)}).Serve(&oneConn{conn: far, closed: make(chan struct{})})
	}() //nolint:gosec // within the test
	return near, nil
}

func (p *pluginServer) State() (<-chan struct{}, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.changed, p.away
}

func (p *pluginServer) set(away error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.away = away
	close(p.changed)
	p.changed = make(chan struct{})
}

// oneConn is a listener with one connection.
type oneConn struct {
	conn   net.Conn
	once   sync.Once
	closed chan struct{}
}

func (l *oneConn) Accept() (c net.Conn, err error) {
	l.once.Do(func() { c = l.conn })
	if c == nil {
		<-l.closed
		return nil, net.ErrClosed
	}
	return c, nil
}

func (l *oneConn) Close() error   { return nil }
func (l *oneConn) Addr() net.Addr { return l.conn.LocalAddr() }

var flunders = []aggregation.Offered{{
	GroupVersion: schema.GroupVersion{Group: "wardle.example.com", Version: "v1alpha1"}, Priority: aggregation.Priority{Group: 2000},
}}

// A plugin's group version is there while the plugin is in the catalogue, and says so while the
// plugin is away.
func TestPlugin(t *testing.T) {
	s, p := newServer(t, newAuthority(t)), newPluginServer(t)
	if err := s.agg.SetPlugin("ware", flunders, p); err != nil {
		t.Fatal(err)
	}
	s.reason(wardle, "Passed")
	text := s.must(200, "GET", apiServices+"/"+wardle, "")
	for _, want := range []string{`"core.pintle.dev/plugin":"ware"`, `"groupPriorityMinimum":2000`, `"versionPriority":100`} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in %s", want, text)
		}
	}
	const objects = "/apis/wardle.example.com/v1alpha1/namespaces/default/flunders/a"
	s.must(200, "GET", objects, "", "X-Remote-User", "root")
	if h := p.e.header(); h.Get("X-Remote-User") != "ada" || len(h.Values("X-Remote-Group")) != 2 || h.Get("Authorization") != "" {
		t.Errorf("headers: %v", h)
	}
	s.waitFor("OpenAPI", func() bool { _, text := s.do("GET", "/openapi/v3", ""); return strings.Contains(text, "hash=ABC") })

	p.set(errors.New("plugin ware is BackOff: it fell"))
	s.reason(wardle, "PluginUnavailable")
	if _, _, text := s.availability(wardle); text != "plugin ware is BackOff: it fell" {
		t.Error(text)
	}
	s.waitFor("503", func() bool {
		a := s.Do("GET", objects, "")
		return a.Code == 503 && a.Header.Get("Retry-After") == "1"
	})
	_, text = s.do("GET", "/apis", "", "Accept", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList")
	if !strings.Contains(text, `"freshness":"Stale"`) || !strings.Contains(text, `"resource":"flunders"`) {
		t.Error(text)
	}
	p.set(nil)
	s.reason(wardle, "Passed")
	s.waitFor("objects", func() bool { code, _ := s.do("GET", objects, ""); return code == 200 })

	// Somebody changes its APIService: it is put back.
	s.must(200, "PATCH", apiServices+"/"+wardle, `{"spec":{"groupPriorityMinimum":7}}`, "Content-Type", "application/merge-patch+json")
	s.waitFor("its priority", func() bool {
		_, text := s.do("GET", apiServices+"/"+wardle, "")
		return strings.Contains(text, `"groupPriorityMinimum":2000`)
	})

	if err := s.agg.SetPlugin("ware", nil, nil); err != nil {
		t.Fatal(err)
	}
	s.waitFor("its end", func() bool { code, _ := s.do("GET", apiServices+"/"+wardle, ""); return code == 404 })
	s.waitFor("404", func() bool { code, _ := s.do("GET", objects, ""); return code == 404 })
}

// Nobody serves what somebody else does.
func TestPluginIsRefused(t *testing.T) {
	s, p := newServer(t, newAuthority(t)), newPluginServer(t)
	refused := func(gv schema.GroupVersion, want string) {
		t.Helper()
		err := s.agg.SetPlugin("thief", []aggregation.Offered{{GroupVersion: gv}}, p)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", gv, err, want)
		}
	}
	if err := s.agg.SetPlugin("ware", flunders, p); err != nil {
		t.Fatal(err)
	}
	refused(flunders[0].GroupVersion, "plugin ware serves it")
	refused(schema.GroupVersion{Group: "discovery.k8s.io", Version: "v1"}, "the cluster serves it itself")
	added := define("stable.example.com", "crontabs", "CronTab", crd.NamespaceScoped)
	added.Source = "crd:crontabs.stable.example.com"
	if err := s.reg.Register(added); err != nil {
		t.Fatal(err)
	}
	refused(schema.GroupVersion{Group: "stable.example.com", Version: added.Versions[0].Name}, "the cluster serves it itself")
	s.must(201, "POST", apiServices, `{"apiVersion":"apiregistration.k8s.io/v1","kind":"APIService","metadata":{"name":"v1.far.example.com"},
	 "spec":{"group":"far.example.com","version":"v1","groupPriorityMinimum":1,"versionPriority":1,"insecureSkipTLSVerify":true,"service":{"namespace":"ware","name":"far"}}}`)
	s.reason("v1.far.example.com", "ServiceNotFound")
	refused(schema.GroupVersion{Group: "far.example.com", Version: "v1"}, "APIService v1.far.example.com sends it to a Service")
}

// A server that has not started the plugin yet asks clients to wait for it.
func TestPluginThatIsNotThereYet(t *testing.T) {
	s, p := newServer(t, newAuthority(t)), newPluginServer(t)
	s.must(201, "POST", apiServices, `{"apiVersion":"apiregistration.k8s.io/v1","kind":"APIService","metadata":{"name":"`+wardle+`",
	 "labels":{"core.pintle.dev/plugin":"ware","kube-aggregator.kubernetes.io/automanaged":"true"}},
	 "spec":{"group":"wardle.example.com","version":"v1alpha1","groupPriorityMinimum":1,"versionPriority":1}}`)
	s.reason(wardle, "PluginUnavailable")
	if _, _, text := s.availability(wardle); text != "plugin ware has not been started on this server" {
		t.Error(text)
	}
	s.must(503, "GET", "/apis/wardle.example.com/v1alpha1", "")
	if err := s.agg.SetPlugin("ware", flunders, p); err != nil {
		t.Fatal(err)
	}
	s.reason(wardle, "Passed")
	s.waitFor("200", func() bool { code, _ := s.do("GET", "/apis/wardle.example.com/v1alpha1", ""); return code == 200 })
}
