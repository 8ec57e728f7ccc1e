package aggregation_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// authority signs the certificates of a test.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
	pem  []byte
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ca"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	a := &authority{cert: cert, key: key, pool: x509.NewCertPool(), pem: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}
	a.pool.AddCert(cert)
	return a
}

func (a *authority) pair(t testing.TB, name string, hosts ...string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, DNSNames: hosts,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}}, a.cert, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// extension is an extension API server of flunders.
type extension struct {
	*httptest.Server
	mu       sync.Mutex
	last     http.Header // of the last request for objects
	broken   bool        // answers 500 to discovery
	redirect bool
	trusts   bool        // whoever is at the other end
	next     chan string // names of flunders that watches get
}

const (
	extensionGroup  = "wardle.example.com"
	discoveryOfWare = `{"kind":"APIResourceList","apiVersion":"v1","groupVersion":"wardle.example.com/v1alpha1","resources":[
 {"name":"flunders","singularName":"flunder","namespaced":true,"kind":"Flunder","verbs":["get","list","watch","create"],"shortNames":["fl"]},
 {"name":"flunders/exec","singularName":"","namespaced":true,"kind":"FlunderOptions","verbs":["get"]}]}`
)

// newExtension starts a server that believes nobody but the front proxy.
func newExtension(t testing.TB, serving, proxies *authority) *extension {
	t.Helper()
	e := &extension{next: make(chan string, 8)}
	e.Server = httptest.NewUnstartedServer(http.HandlerFunc(e.serve))
	e.TLS = &tls.Config{Certificates: []tls.Certificate{serving.pair(t, "wardle", "api.ware.svc")}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: proxies.pool}
	e.EnableHTTP2 = true
	e.StartTLS()
	t.Cleanup(func() {
		e.CloseClientConnections()
		e.Close()
	})
	return e
}

func (e *extension) port() int32 {
	_, port, err := net.SplitHostPort(e.Listener.Addr().String())
	if err != nil {
		panic(err)
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		panic(err)
	}
	return int32(n)
}

func flunder(name string) string {
	return `{"apiVersion":"wardle.example.com/v1alpha1","kind":"Flunder","metadata":{"name":"` + name + `","namespace":"default"}}`
}

func (e *extension) serve(w http.ResponseWriter, r *http.Request) {
	if !e.trusts && r.TLS.PeerCertificates[0].Subject.CommonName != "front-proxy-client" {
		http.Error(w, "who are you?", http.StatusUnauthorized)
		return
	}
	e.mu.Lock()
	broken, redirect := e.broken, e.redirect
	if strings.Contains(r.URL.Path, "flunders") {
		e.last = r.Header.Clone()
	}
	e.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	const base = "/apis/wardle.example.com/v1alpha1"
	objects := base + "/namespaces/default/flunders"
	switch {
	case broken:
		http.Error(w, "broken", http.StatusInternalServerError)
	case redirect && strings.HasPrefix(r.URL.Path, objects):
		http.Redirect(w, r, "https://192.0.2.1/elsewhere", http.StatusFound)
	case r.URL.Path == base:
		_, _ = w.Write([]byte(discoveryOfWare))
	case r.URL.Path == "/openapi/v3":
		_, _ = w.Write([]byte(`{"paths":{"apis/wardle.example.com/v1alpha1":{"serverRelativeURL":"/openapi/v3/apis/wardle.example.com/v1alpha1?hash=ABC"}}}`))
	case r.URL.Path == "/openapi/v3"+base:
		_, _ = w.Write([]byte(`{"openapi":"3.0.0","info":{"title":"wardle"},"asked":"` + r.URL.RawQuery + `"}`))
	case r.URL.Path == "/openapi/v2":
		_, _ = w.Write([]byte(`{"swagger":"2.0","info":{"title":"w","version":"1"},"paths":{"` + base + `/flunders":{"get":{"responses":{"200":{"description":"ok","schema":{"$ref":"#/definitions/Flunder"}}}}},"/healthz":{"get":{"responses":{}}}},"definitions":{"Flunder":{"type":"object"}}}`))
	case r.URL.Path == objects && r.URL.Query().Get("watch") != "":
		_ = http.NewResponseController(w).Flush()
		for {
			select {
			case name := <-e.next:
				_, _ = fmt.Fprintf(w, `{"type":"ADDED","object":%s}`+"\n", flunder(name))
				_ = http.NewResponseController(w).Flush()
			case <-r.Context().Done():
				return
			}
		}
	case r.URL.Path == objects:
		_, _ = fmt.Fprintf(w, `{"apiVersion":"wardle.example.com/v1alpha1","kind":"FlunderList","metadata":{},"items":[%s,%s]}`, flunder("a"), flunder("b"))
	case r.URL.Path == objects+"/a":
		_, _ = w.Write([]byte(flunder("a")))
	case r.URL.Path == objects+"/never":
		<-r.Context().Done()
	case r.URL.Path == objects+"/a/exec":
		conn, err := (&websocket.Upgrader{Subprotocols: []string{"echo"}}).Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer conn.Close()
		for {
			kind, data, err := conn.ReadMessage()
			if err != nil {
				return
			}
			if err := conn.WriteMessage(kind, append([]byte("echo "), data...)); err != nil {
				return
			}
		}
	default:
		w.WriteHeader(http.StatusNotFound)
		_ = json.NewEncoder(w).Encode(map[string]any{"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404, "message": "not found"})
	}
}

func (e *extension) set(f func(*extension)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	f(e)
}

func (e *extension) header() http.Header {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.last
}
