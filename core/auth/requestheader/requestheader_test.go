package requestheader_test

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/pintle-dev/pintle/core/auth"
	"github.com/pintle-dev/pintle/core/auth/pki"
	"github.com/pintle-dev/pintle/core/auth/requestheader"
)

func TestFrontProxy(t *testing.T) {
	ca, err := pki.Open(pki.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	proxy, err := ca.FrontProxy()
	if err != nil {
		t.Fatal(err)
	}
	admin, err := ca.Admin()
	if err != nil {
		t.Fatal(err)
	}
	const user = "X-Remote-User"
	for _, c := range []struct {
		name    string
		cert    *x509.Certificate
		allowed []string
		header  http.Header
		want    string // user, or part of the error
		bad     bool
	}{
		{"a user", proxy.Client.Certificate, nil, http.Header{user: {"jane"}, "X-Remote-Group": {"a", "b", ""}, "X-Remote-Uid": {"7"}, "X-Remote-Extra-Acme.com%2fscope": {"x", "y"}},
			"jane 7 [a b system:authenticated] map[acme.com/scope:[x y]]", false},
		{"second name of the header", proxy.Client.Certificate, nil, http.Header{"X-Other-User": {"jane"}}, "jane  [system:authenticated] map[]", false},
		{"allowed name", proxy.Client.Certificate, []string{"a", pki.FrontProxyUser}, http.Header{user: {"jane"}}, "jane  [system:authenticated] map[]", false},
		{"name that is not allowed", proxy.Client.Certificate, []string{"a"}, http.Header{user: {"jane"}}, "x509: subject with cn=front-proxy-client is not in the allowed list", true},
		{"nobody named", proxy.Client.Certificate, nil, http.Header{"X-Remote-Group": {"system:masters"}}, "front-proxy-client", true},
		{"a client is no proxy", admin.Certificate, nil, http.Header{user: {"jane"}}, "kubernetes-admin  [system:masters system:authenticated] ", false},
		{"without a certificate", nil, nil, http.Header{user: {"jane"}, "X-Remote-Group": {"system:masters"}}, "system:anonymous  [system:unauthenticated] map[]", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			h, err := requestheader.New(requestheader.Config{CAs: proxy.Pool(), AllowedNames: c.allowed, UsernameHeaders: []string{"x-remote-user", "X-Other-User"},
				UIDHeaders: []string{"X-Remote-Uid"}, GroupHeaders: []string{"X-Remote-Group"}, ExtraPrefixes: []string{"X-Remote-Extra-"}})
			if err != nil {
				t.Fatal(err)
			}
			a := auth.New(auth.Config{ClientCAs: ca.Pool(), FrontProxy: h, Anonymous: true})
			for range 2 { // the second time from the cache
				r := &http.Request{Header: c.header.Clone()}
				if c.cert != nil {
					r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{c.cert}}
				}
				u, ok, err := a.Authenticate(r)
				if c.bad {
					if ok || err == nil || !strings.Contains(err.Error(), c.want) {
						t.Errorf("%+v %v, want %q", u, err, c.want)
					}
					continue
				}
				if got := fmt.Sprint(u.Name, " ", u.UID, " ", u.Groups, " ", u.Extra); !ok || !strings.HasPrefix(got, c.want) {
					t.Errorf("%q %v, want %q", got, err, c.want)
				}
				if c.cert == proxy.Client.Certificate && len(r.Header) > 0 {
					t.Errorf("headers are left that name the user: %v", r.Header)
				}
			}
		})
	}
	if _, err := requestheader.New(requestheader.Config{CAs: proxy.Pool()}); err == nil {
		t.Error("a configuration without a header for the user's name is accepted")
	}
}
