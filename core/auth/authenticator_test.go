package auth_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pintle-dev/pintle/core/auth"
	"github.com/pintle-dev/pintle/core/auth/pki"
	"github.com/pintle-dev/pintle/sdk/resource"
)

type fixture struct {
	ca, other *pki.Authority
	tokens    *auth.TokenStore
	now       time.Time
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{tokens: auth.NewTokenStore(), now: time.Now()}
	for _, a := range []**pki.Authority{&f.ca, &f.other} {
		var err error
		if *a, err = pki.Open(pki.Config{Dir: t.TempDir()}); err != nil {
			t.Fatal(err)
		}
	}
	f.tokens.Register("plugin-token", resource.User{Name: "system:plugin:x", Groups: []string{"system:plugins"}})
	f.tokens.Register("gone", resource.User{Name: "system:plugin:y"})
	f.tokens.Revoke("gone")
	return f
}

func (f *fixture) certificate(t *testing.T, a *pki.Authority, user string, groups ...string) *tls.ConnectionState {
	t.Helper()
	p, err := a.Client("c-"+user, user, groups...)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.ConnectionState{PeerCertificates: []*x509.Certificate{p.Certificate}}
}

func (f *fixture) authenticator(anonymous bool) *auth.Authenticator {
	return auth.New(auth.Config{ClientCAs: f.ca.Pool(), Tokens: []auth.TokenAuthenticator{f.tokens}, Anonymous: anonymous, Now: func() time.Time { return f.now }})
}

func TestAuthenticate(t *testing.T) {
	f := newFixture(t)
	serving, err := f.ca.Serving(pki.Server{})
	if err != nil {
		t.Fatal(err)
	}
	ws := "base64url.bearer.authorization.k8s.io." + base64.RawURLEncoding.EncodeToString([]byte("plugin-token"))
	for _, c := range []struct {
		name      string
		tls       *tls.ConnectionState
		header    http.Header
		anonymous bool
		user      string
		groups    string
		bad       bool
	}{
		{name: "client certificate", tls: f.certificate(t, f.ca, "jane", "dev", "ops"), user: "jane", groups: "dev,ops,system:authenticated"},
		{name: "certificate of another CA", tls: f.certificate(t, f.other, "jane", "system:masters"), anonymous: true, bad: true},
		{name: "serving certificate is no client's", tls: &tls.ConnectionState{PeerCertificates: []*x509.Certificate{serving.Certificate}}, bad: true},
		{name: "token", header: http.Header{"Authorization": {"Bearer plugin-token"}}, user: "system:plugin:x", groups: "system:plugins,system:authenticated"},
		{name: "token, lower case", header: http.Header{"Authorization": {"bearer plugin-token"}}, user: "system:plugin:x", groups: "system:plugins,system:authenticated"},
		{name: "token in a WebSocket protocol", header: http.Header{"Sec-Websocket-Protocol": {"v5.channel.k8s.io, " + ws}}, user: "system:plugin:x", groups: "system:plugins,system:authenticated"},
		{name: "revoked token", header: http.Header{"Authorization": {"Bearer gone"}}, anonymous: true, bad: true},
		{name: "unknown token", header: http.Header{"Authorization": {"Bearer nonsense"}}, bad: true},
		{name: "basic credentials are nobody's", header: http.Header{"Authorization": {"Basic YTpi"}}, anonymous: true, user: "system:anonymous", groups: "system:unauthenticated"},
		{name: "nothing", anonymous: true, user: "system:anonymous", groups: "system:unauthenticated"},
		{name: "nothing, anonymous off"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := f.authenticator(c.anonymous)
			for range 2 { // the second time from the cache
				user, ok, err := a.Authenticate(&http.Request{TLS: c.tls, Header: c.header})
				if (err != nil) != c.bad {
					t.Fatalf("error %v, want one: %v", err, c.bad)
				}
				if ok != (c.user != "") || user.Name != c.user {
					t.Fatalf("user %q %v, want %q", user.Name, ok, c.user)
				}
				if got := strings.Join(user.Groups, ","); got != c.groups {
					t.Errorf("groups %s, want %s", got, c.groups)
				}
			}
		})
	}
}

func TestCachedCertificateExpires(t *testing.T) {
	f := newFixture(t)
	a := f.authenticator(false)
	r := &http.Request{TLS: f.certificate(t, f.ca, "jane")}
	if _, ok, err := a.Authenticate(r); !ok || err != nil {
		t.Fatal(ok, err)
	}
	f.now = f.now.Add(366 * 24 * time.Hour)
	if _, ok, err := a.Authenticate(r); ok || err == nil {
		t.Error("an expired certificate is accepted")
	}
}

func TestGroupsOfCallerAreNotShared(t *testing.T) {
	s := auth.NewTokenStore()
	groups := make([]string, 1, 8)
	groups[0] = "a"
	s.Register("t", resource.User{Name: "u", Groups: groups})
	if slices.Contains(groups[:2], auth.AuthenticatedGroup) {
		t.Error("the caller's slice was written to")
	}
}

type decision struct {
	ok     bool
	reason string
	err    error
}

func (d decision) Authorize(context.Context, auth.Attributes) (bool, string, error) {
	return d.ok, d.reason, d.err
}

func TestUnion(t *testing.T) {
	failed, denied := errors.New("failed"), error(&auth.Denied{})
	for _, c := range []struct {
		name   string
		union  auth.Union
		groups []string
		want   decision
	}{
		{"nobody", nil, nil, decision{}},
		{"masters", auth.Union{decision{false, "no", failed}}, []string{"system:masters"}, decision{ok: true}},
		{"second allows", auth.Union{decision{false, "no", failed}, decision{true, "yes", nil}}, nil, decision{true, "yes", nil}},
		{"nobody allows what is denied", auth.Union{decision{false, "never", denied}, decision{true, "yes", nil}}, nil, decision{false, "never", denied}},
		{"reasons are joined", auth.Union{decision{false, "a", nil}, decision{}, decision{false, "b", failed}}, nil, decision{false, "a\nb", failed}},
	} {
		t.Run(c.name, func(t *testing.T) {
			ok, reason, err := c.union.Authorize(t.Context(), auth.Attributes{User: resource.User{Groups: c.groups}})
			if got := (decision{ok, reason, err}); got != c.want {
				t.Errorf("%+v, want %+v", got, c.want)
			}
		})
	}
}

func BenchmarkAuthenticateCertificate(b *testing.B) {
	ca, err := pki.Open(pki.Config{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	p, err := ca.Admin()
	if err != nil {
		b.Fatal(err)
	}
	a := auth.New(auth.Config{ClientCAs: ca.Pool()})
	r := &http.Request{TLS: &tls.ConnectionState{PeerCertificates: []*x509.Certificate{p.Certificate}}}
	b.ReportAllocs()
	for b.Loop() {
		if _, ok, _ := a.Authenticate(r); !ok {
			b.Fatal("not authenticated")
		}
	}
}
