package authtest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// Provider is an OpenID Connect provider on loopback, over TLS, with keys of its own.
type Provider struct {
	*httptest.Server
	// Path of the discovery document, the usual one where it is empty.
	Path string
	// Issuer that the document names, the server's URL where it is empty.
	Issuer string
	// KeyFetches counts how often the keys were asked for.
	KeyFetches atomic.Int32
	// Extra is served beside the documents.
	Extra http.Handler

	t    testing.TB
	mu   sync.Mutex
	keys map[string]crypto.Signer
	kid  string
}

// NewProvider starts a provider that signs with RS256.
func NewProvider(t testing.TB) *Provider {
	t.Helper()
	p := &Provider{t: t, keys: map[string]crypto.Signer{}}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	p.UseKey("first", key)
	p.Server = httptest.NewTLSServer(p)
	t.Cleanup(p.Close)
	return p
}

// UseKey signs with another key from now on; nil makes one on P-256. Older keys stay known.
func (p *Provider) UseKey(kid string, key crypto.Signer) {
	if key == nil {
		var err error
		if key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
			p.t.Fatal(err)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keys[kid], p.kid = key, kid
}

// CA is the certificate that the provider's own is signed by, as PEM.
func (p *Provider) CA() string { return string(CA(p.Server)) }

// CA is the certificate of a test server, as PEM.
func CA(s *httptest.Server) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
}

func (p *Provider) issuer() string {
	if p.Issuer != "" {
		return p.Issuer
	}
	return p.URL
}

// ServeHTTP serves the documents.
func (p *Provider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := p.Path
	if path == "" {
		path = "/.well-known/openid-configuration"
	}
	w.Header().Set("Content-Type", "application/json")
	switch {
	case r.URL.Path == path:
		p.write(w, map[string]any{"issuer": p.issuer(), "jwks_uri": p.URL + "/jwks", "authorization_endpoint": p.URL + "/auth",
			"response_types_supported": []string{"id_token"}, "subject_types_supported": []string{"public"}, "id_token_signing_alg_values_supported": []string{"RS256", "ES256"}})
	case r.URL.Path == "/jwks":
		p.KeyFetches.Add(1)
		p.write(w, map[string]any{"keys": p.jwks()})
	case p.Extra != nil:
		p.Extra.ServeHTTP(w, r)
	default:
		http.NotFound(w, r)
	}
}

func (p *Provider) write(w http.ResponseWriter, v any) {
	if err := json.NewEncoder(w).Encode(v); err != nil {
		p.t.Error(err)
	}
}

func (p *Provider) jwks() []map[string]string {
	enc := base64.RawURLEncoding.EncodeToString
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []map[string]string
	for kid, key := range p.keys {
		switch pub := key.Public().(type) {
		case *rsa.PublicKey:
			out = append(out, map[string]string{"kid": kid, "use": "sig", "kty": "RSA", "alg": "RS256", "n": enc(pub.N.Bytes()), "e": enc(big.NewInt(int64(pub.E)).Bytes())})
		case *ecdsa.PublicKey:
			point, err := pub.Bytes()
			if err != nil {
				p.t.Error(err)
				continue
			}
			out = append(out, map[string]string{"kid": kid, "use": "sig", "kty": "EC", "alg": "ES256", "crv": "P-256", "x": enc(point[1:33]), "y": enc(point[33:])})
		}
	}
	return out
}

// Token signs claims. Issuer and times are set unless claims has them; a nil value takes one
// out.
func (p *Provider) Token(claims map[string]any) string {
	p.t.Helper()
	all := jwt.MapClaims{"iss": p.issuer(), "iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix()}
	maps.Copy(all, claims)
	for k, v := range all {
		if v == nil {
			delete(all, k)
		}
	}
	p.mu.Lock()
	kid, key := p.kid, p.keys[p.kid]
	p.mu.Unlock()
	method := jwt.SigningMethod(jwt.SigningMethodRS256)
	if _, ok := key.(*ecdsa.PrivateKey); ok {
		method = jwt.SigningMethodES256
	}
	t := jwt.NewWithClaims(method, all)
	t.Header["kid"] = kid
	signed, err := t.SignedString(key)
	if err != nil {
		p.t.Fatal(err)
	}
	return signed
}
