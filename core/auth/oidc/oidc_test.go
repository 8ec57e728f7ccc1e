package oidc_test

import (
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"k8s.io/apiserver/pkg/apis/apiserver"

	"github.com/pintle-dev/pintle/core/auth/internal/authtest"
	"github.com/pintle-dev/pintle/core/auth/oidc"
)

func prefix(s string) *string { return &s }

// plain is a configuration that maps sub and groups.
func plain(p *authtest.Provider) apiserver.JWTAuthenticator {
	return apiserver.JWTAuthenticator{
		Issuer: apiserver.Issuer{URL: p.URL, CertificateAuthority: p.CA(), Audiences: []string{"k8s"}},
		ClaimMappings: apiserver.ClaimMappings{
			Username: apiserver.PrefixedClaimOrExpression{Claim: "sub", Prefix: prefix("oidc:")},
			Groups:   apiserver.PrefixedClaimOrExpression{Claim: "roles", Prefix: prefix("g:")},
		},
	}
}

func start(t *testing.T, cfg oidc.Config) *oidc.Authenticator {
	t.Helper()
	cfg.Logger, cfg.Retry = slog.New(slog.DiscardHandler), 10*time.Millisecond
	a, err := oidc.New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-a.Ready():
	case <-time.After(20 * time.Second):
		t.Fatal("the provider is not found")
	}
	return a
}

func TestClaimsBecomeUsers(t *testing.T) {
	p := authtest.NewProvider(t)
	type claims = map[string]any
	with := func(f func(*apiserver.JWTAuthenticator)) apiserver.JWTAuthenticator { j := plain(p); f(&j); return j }
	expressions := with(func(j *apiserver.JWTAuthenticator) {
		j.ClaimMappings = apiserver.ClaimMappings{
			Username: apiserver.PrefixedClaimOrExpression{Expression: `dyn(claims.preferred).name + "@acme"`},
			Groups:   apiserver.PrefixedClaimOrExpression{Expression: `dyn(claims.teams).map(x, x.name) + dyn(claims.acme__dot__com).roles`},
			UID:      apiserver.ClaimOrExpression{Expression: `claims.sub`},
			Extra: []apiserver.ExtraMapping{{Key: "acme.com/tenant", ValueExpression: `claims.tenant`},
				{Key: "acme.com/none", ValueExpression: `""`}},
		}
		j.ClaimValidationRules = []apiserver.ClaimValidationRule{{Expression: `dyn(claims.exp) - dyn(claims.iat) <= 86400.0`, Message: "too long"}}
		j.UserValidationRules = []apiserver.UserValidationRule{{Expression: `!user.username.startsWith("system:")`, Message: "not a system user"},
			{Expression: `user.groups.all(g, g != "root") && user.extra["acme.com/tenant"].exists(v, v == "blue")`, Message: "not root"}}
	})
	member := claims{"aud": "k8s", "sub": "7", "preferred": claims{"name": "jane"}, "teams": []claims{{"name": "a"}}, "acme.com": claims{"roles": []string{"b", ""}}, "tenant": []string{"blue"}}
	member2 := func(k string, v any) claims {
		m := claims{}
		for key, value := range member {
			m[key] = value
		}
		m[k] = v
		return m
	}
	for _, c := range []struct {
		name   string
		jwt    apiserver.JWTAuthenticator
		claims claims
		want   string // name, groups, uid, extra; or part of the error
		bad    bool
	}{
		{"claims", plain(p), claims{"sub": "jane", "aud": "k8s", "roles": []string{"a", "b"}, "jti": "x"}, "oidc:jane [g:a g:b]  map[authentication.kubernetes.io/credential-id:[JTI=x]]", false},
		{"one role", plain(p), claims{"sub": "jane", "aud": []string{"other", "k8s"}, "roles": "a"}, "oidc:jane [g:a]  map[]", false},
		{"no role", plain(p), claims{"sub": "jane", "aud": "k8s"}, "oidc:jane []  map[]", false},
		{"other audience", plain(p), claims{"sub": "jane", "aud": "web"}, "expected audience", true},
		{"several audiences", with(func(j *apiserver.JWTAuthenticator) {
			j.Issuer.Audiences, j.Issuer.AudienceMatchPolicy = []string{"x", "web"}, "MatchAny"
		}), claims{"sub": "jane", "aud": "web"}, "oidc:jane []  map[]", false},
		{"no subject", plain(p), claims{"aud": "k8s"}, "parse username claims", true},
		{"expired", plain(p), claims{"sub": "jane", "aud": "k8s", "exp": time.Now().Add(-time.Minute).Unix()}, "expired", true},
		{"not yet", plain(p), claims{"sub": "jane", "aud": "k8s", "nbf": time.Now().Add(time.Hour).Unix()}, "before the nbf", true},
		{"roles of another type", plain(p), claims{"sub": "jane", "aud": "k8s", "roles": 7}, "parse groups claim", true},
		{"email", with(func(j *apiserver.JWTAuthenticator) {
			j.ClaimMappings.Username = apiserver.PrefixedClaimOrExpression{Claim: "email", Prefix: prefix("")}
		}),
			claims{"aud": "k8s", "email": "a@b", "email_verified": true}, "a@b []  map[]", false},
		{"email that nobody verified", with(func(j *apiserver.JWTAuthenticator) {
			j.ClaimMappings.Username = apiserver.PrefixedClaimOrExpression{Claim: "email", Prefix: prefix("")}
		}),
			claims{"aud": "k8s", "email": "a@b", "email_verified": false}, "email not verified", true},
		{"required claim", with(func(j *apiserver.JWTAuthenticator) {
			j.ClaimValidationRules = []apiserver.ClaimValidationRule{{Claim: "hd", RequiredValue: "acme"}}
		}),
			claims{"aud": "k8s", "sub": "jane", "hd": "acme"}, "oidc:jane []  map[]", false},
		{"required claim of another value", with(func(j *apiserver.JWTAuthenticator) {
			j.ClaimValidationRules = []apiserver.ClaimValidationRule{{Claim: "hd", RequiredValue: "acme"}}
		}),
			claims{"aud": "k8s", "sub": "jane", "hd": "evil"}, "required claim hd value does not match", true},
		{"required claim is not there", with(func(j *apiserver.JWTAuthenticator) {
			j.ClaimValidationRules = []apiserver.ClaimValidationRule{{Claim: "hd", RequiredValue: "acme"}}
		}),
			claims{"aud": "k8s", "sub": "jane"}, "required claim hd not present", true},
		{"UID from a claim", with(func(j *apiserver.JWTAuthenticator) { j.ClaimMappings.UID.Claim = "id" }), claims{"aud": "k8s", "sub": "jane", "id": "77"}, "oidc:jane [] 77 map[]", false},
		{"expressions", expressions, member, "jane@acme [a b] 7 map[acme.com/tenant:[blue]]", false},
		{"claim rule", expressions, member2("exp", time.Now().Add(48*time.Hour).Unix()), "failed: too long", true},
		{"user rule", expressions, member2("acme.com", claims{"roles": []string{"root"}}), "failed: not root", true},
		{"user rule about the name", expressions, member2("preferred", claims{"name": "system:x"}), "failed: not a system user", true},
		{"expression about what is not there", expressions, member2("tenant", nil), "no such key: tenant", true},
		{"expression of another type", expressions, member2("preferred", claims{"name": 7}), "username claim expression", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := start(t, oidc.Config{JWT: c.jwt})
			u, ok, err := a.AuthenticateToken(t.Context(), p.Token(c.claims), nil)
			if c.bad {
				if ok || err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("%+v %v, want %q", u, err, c.want)
				}
				return
			}
			if got := fmt.Sprint(u.User.Name, " ", u.User.Groups, " ", u.User.UID, " ", u.User.Extra); !ok || err != nil || got != c.want {
				t.Errorf("%q %v %v, want %q", got, ok, err, c.want)
			}
		})
	}
}

func TestSignaturesAreChecked(t *testing.T) {
	p, other := authtest.NewProvider(t), authtest.NewProvider(t)
	a := start(t, oidc.Config{JWT: plain(p)})
	jane := map[string]any{"sub": "jane", "aud": "k8s"}
	good := p.Token(jane)
	parts := strings.Split(good, ".")
	root := strings.Split(p.Token(map[string]any{"sub": "root", "aud": "k8s"}), ".")
	for name, token := range map[string]string{
		"another's key":    other.Token(map[string]any{"sub": "jane", "aud": "k8s", "iss": p.URL}),
		"another's claims": parts[0] + "." + root[1] + "." + parts[2],
		"no signature":     parts[0] + "." + parts[1] + ".",
		"no algorithm":     "eyJhbGciOiJub25lIn0." + parts[1] + ".",
	} {
		if _, ok, err := a.AuthenticateToken(t.Context(), token, nil); ok || err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
	for name, token := range map[string]string{"another issuer's": other.Token(jane), "opaque": "abc", "two parts": "a.b"} {
		if _, ok, err := a.AuthenticateToken(t.Context(), token, nil); ok || err != nil {
			t.Errorf("%s: %v %v", name, ok, err)
		}
	}
	if _, ok, err := a.AuthenticateToken(t.Context(), good, nil); !ok {
		t.Fatal(err)
	}
	before := p.KeyFetches.Load()
	p.UseKey("second", nil)
	// Who comes while a fetch of keys is ending gets the keys of that one.
	deadline := time.Now().Add(10 * time.Second)
	for _, ok, err := a.AuthenticateToken(t.Context(), p.Token(jane), nil); !ok; _, ok, err = a.AuthenticateToken(t.Context(), p.Token(jane), nil) {
		if time.Now().After(deadline) {
			t.Fatalf("a new key of the provider: %v", err)
		}
	}
	if _, ok, err := a.AuthenticateToken(t.Context(), good, nil); !ok || p.KeyFetches.Load() != before+1 {
		t.Errorf("%v %v, keys were fetched %d times for one new key", ok, err, p.KeyFetches.Load()-before)
	}
}

func TestDiscoveryElsewhere(t *testing.T) {
	p := authtest.NewProvider(t)
	p.Path, p.Issuer = "/hidden/document", "https://issuer.invalid/realm"
	jwt := plain(p)
	jwt.Issuer.URL, jwt.Issuer.DiscoveryURL = p.Issuer, p.URL+"/hidden/document"
	a := start(t, oidc.Config{JWT: jwt})
	if u, ok, err := a.AuthenticateToken(t.Context(), p.Token(map[string]any{"sub": "jane", "aud": "k8s"}), nil); !ok || u.User.Name != "oidc:jane" {
		t.Error(u, err)
	}
}

func TestDistributedGroups(t *testing.T) {
	p := authtest.NewProvider(t)
	p.Extra = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer key" {
			http.Error(w, "no", http.StatusUnauthorized)
			return
		}
		claims := map[string]any{"aud": "k8s", "roles": []string{"far"}}
		if r.URL.Path == "/without" {
			delete(claims, "roles")
		}
		_, _ = w.Write([]byte(p.Token(claims)))
	})
	a := start(t, oidc.Config{JWT: plain(p)})
	token := func(path, key string) string {
		return p.Token(map[string]any{"sub": "jane", "aud": "k8s", "_claim_names": map[string]string{"roles": "s"},
			"_claim_sources": map[string]any{"s": map[string]string{"endpoint": p.URL + path, "access_token": key}}})
	}
	if u, ok, err := a.AuthenticateToken(t.Context(), token("/groups", "key"), nil); !ok || fmt.Sprint(u.User.Groups) != "[g:far]" {
		t.Errorf("%+v %v", u, err)
	}
	for _, bad := range []string{token("/groups", "wrong"), token("/without", "key")} {
		if _, ok, err := a.AuthenticateToken(t.Context(), bad, nil); ok || err == nil {
			t.Error("a token is accepted though its groups are not known")
		}
	}
}

func TestProviderThatIsNotThereYet(t *testing.T) {
	p := authtest.NewProvider(t)
	p.Path = "/later"
	jwt := plain(p)
	a, err := oidc.New(t.Context(), oidc.Config{JWT: jwt, Retry: time.Hour, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if _, ok, err := a.AuthenticateToken(t.Context(), p.Token(map[string]any{"sub": "jane", "aud": "k8s"}), nil); ok || err == nil || !strings.Contains(err.Error(), "not initialized") {
		t.Errorf("%v %v", ok, err)
	}
}
