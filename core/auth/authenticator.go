package auth

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/pintle-dev/pintle/core/auth/internal/cache"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// Users and groups that the server itself knows.
const (
	AnonymousUser        = "system:anonymous"
	UnauthenticatedGroup = "system:unauthenticated"
	AuthenticatedGroup   = "system:authenticated"
	MastersGroup         = "system:masters"
	NodesGroup           = "system:nodes"
	NodeUserPrefix       = "system:node:"
)

// ErrInvalidToken says that the bearer token of a request is no good.
var ErrInvalidToken = errors.New("invalid bearer token")

// TokenUser is who a token stands for.
type TokenUser struct {
	User resource.User
	// Audiences is the part of those asked for that the token is meant for.
	Audiences []string
}

// TokenAuthenticator recognises one sort of bearer tokens.
type TokenAuthenticator interface {
	// AuthenticateToken returns false where the token is not of its sort, and an error
	// where it is and is no good. The token must be meant for one of audiences; none
	// given means the API server itself.
	AuthenticateToken(ctx context.Context, token string, audiences []string) (TokenUser, bool, error)
}

// RequestAuthenticator recognises requests by what is not a token.
type RequestAuthenticator interface {
	// AuthenticateRequest returns false where the request carries nothing of its sort, and
	// an error where it does and it is no good.
	AuthenticateRequest(r *http.Request) (resource.User, bool, error)
}

// Config of an Authenticator.
type Config struct {
	// FrontProxy is asked first; nil means that there is none.
	FrontProxy RequestAuthenticator
	// ClientCAs sign client certificates; nil means that certificates are ignored.
	ClientCAs *x509.CertPool
	// Tokens are asked in order.
	Tokens []TokenAuthenticator
	// Anonymous lets requests without credentials in as system:anonymous.
	Anonymous bool
	// AnonymousPaths are the only ones that anonymous requests may be for; empty allows
	// all.
	AnonymousPaths []string
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Authenticator says who sent a request.
type Authenticator struct {
	cas       *x509.CertPool
	tokens    TokenUnion
	proxy     RequestAuthenticator
	anonymous bool
	paths     []string
	now       func() time.Time
	// certs keeps verified certificates by identity: crypto/tls hands out one parsed
	// certificate for all connections that present it, so no hash is needed.
	certs *cache.Cache[*x509.Certificate, resource.User]
}

// New returns an Authenticator.
func New(cfg Config) *Authenticator {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Authenticator{
		cas: cfg.ClientCAs, tokens: cfg.Tokens, proxy: cfg.FrontProxy, now: cfg.Now,
		anonymous: cfg.Anonymous, paths: cfg.AnonymousPaths,
		certs: cache.New[*x509.Certificate, resource.User](1024),
	}
}

// certCacheTTL bounds how long the outcome of a verification is believed.
const certCacheTTL = 10 * time.Minute

// Authenticate returns the user of a request: whom a front proxy names, else by its client
// certificate, else by its bearer token, else anonymous. It returns false where nothing says who it is, and an
// error where a credential was given that is no good; both are 401 Unauthorized. The user
// is shared between requests and must not be changed.
func (a *Authenticator) Authenticate(r *http.Request) (resource.User, bool, error) {
	var failed error
	if a.proxy != nil {
		user, ok, err := a.proxy.AuthenticateRequest(r)
		if ok && err == nil {
			user.Groups = authenticated(user.Groups)
			return user, true, nil
		}
		failed = err
	}
	if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 && a.cas != nil {
		user, err := a.certificate(r.TLS.PeerCertificates)
		if err == nil {
			return user, true, nil
		}
		failed = errors.Join(failed, err)
	}
	if token := BearerToken(r); token != "" {
		user, ok, err := a.AuthenticateToken(r.Context(), token, nil)
		if ok && err == nil {
			return user.User, true, nil
		}
		if err == nil {
			err = ErrInvalidToken
		}
		failed = errors.Join(failed, err)
	}
	if failed != nil {
		return resource.User{}, false, failed
	}
	if !a.anonymous || len(a.paths) > 0 && !slices.Contains(a.paths, r.URL.Path) {
		return resource.User{}, false, nil
	}
	return resource.User{Name: AnonymousUser, Groups: []string{UnauthenticatedGroup}}, true, nil
}

// AuthenticateToken asks the token authenticators in turn. The user it returns is in the
// group system:authenticated.
func (a *Authenticator) AuthenticateToken(ctx context.Context, token string, audiences []string) (TokenUser, bool, error) {
	user, ok, err := a.tokens.AuthenticateToken(ctx, token, audiences)
	if ok {
		user.User.Groups = authenticated(user.User.Groups)
	}
	return user, ok, err
}

// TokenUnion asks its members in order until one knows the token.
type TokenUnion []TokenAuthenticator

var _ TokenAuthenticator = TokenUnion(nil)

// AuthenticateToken implements TokenAuthenticator.
func (u TokenUnion) AuthenticateToken(ctx context.Context, token string, audiences []string) (TokenUser, bool, error) {
	var failed error
	for _, t := range u {
		user, ok, err := t.AuthenticateToken(ctx, token, audiences)
		switch {
		case err != nil:
			failed = errors.Join(failed, err)
		case ok:
			return user, true, nil
		}
	}
	return TokenUser{}, false, failed
}

// certificate verifies a client's chain and reads the user from its leaf: CN is the name,
// O are the groups.
func (a *Authenticator) certificate(chain []*x509.Certificate) (resource.User, error) {
	leaf, now := chain[0], a.now()
	if user, ok := a.certs.Get(leaf, now); ok {
		return user, nil
	}
	opts := x509.VerifyOptions{
		Roots: a.cas, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	if len(chain) > 1 {
		opts.Intermediates = x509.NewCertPool()
		for _, c := range chain[1:] {
			opts.Intermediates.AddCert(c)
		}
	}
	chains, err := leaf.Verify(opts)
	if err != nil {
		return resource.User{}, fmt.Errorf("client certificate of %q, serial %s: %w", leaf.Subject.CommonName, leaf.SerialNumber, err)
	}
	if leaf.Subject.CommonName == "" {
		return resource.User{}, errors.New("client certificate names no user (its CN is empty)")
	}
	uid, err := uidOf(leaf)
	if err != nil {
		return resource.User{}, err
	}
	user := resource.User{Name: leaf.Subject.CommonName, UID: uid, Groups: authenticated(leaf.Subject.Organization),
		Extra: map[string][]string{credentialKey: {fmt.Sprintf("X509SHA256=%x", sha256.Sum256(leaf.Raw))}}}
	until := now.Add(certCacheTTL)
	for _, c := range chains[0] {
		if c.NotAfter.Before(until) {
			until = c.NotAfter
		}
	}
	a.certs.Put(leaf, user, until)
	return user, nil
}

// credentialKey is under which a user's extra fields say what they were recognised by.
const credentialKey = "authentication.kubernetes.io/credential-id"

// uidAttribute of a certificate's subject is the user's UID.
var uidAttribute = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57683, 2}

func uidOf(leaf *x509.Certificate) (string, error) {
	uid, found := "", false
	for _, n := range leaf.Subject.Names {
		if !n.Type.Equal(uidAttribute) {
			continue
		}
		value, ok := n.Value.(string)
		switch {
		case found:
			return "", fmt.Errorf("client certificate of %q: expected 1 UID, but found multiple", leaf.Subject.CommonName)
		case !ok:
			return "", fmt.Errorf("client certificate of %q: unable to parse UID into a string", leaf.Subject.CommonName)
		case value == "":
			return "", fmt.Errorf("client certificate of %q: UID cannot be an empty string", leaf.Subject.CommonName)
		}
		uid, found = value, true
	}
	return uid, nil
}

func authenticated(groups []string) []string {
	if slices.Contains(groups, AuthenticatedGroup) || slices.Contains(groups, UnauthenticatedGroup) {
		return groups
	}
	return append(slices.Clip(groups), AuthenticatedGroup)
}

// websocketTokenPrefix marks a token in Sec-WebSocket-Protocol, for browsers, which can't
// set headers on a WebSocket.
const websocketTokenPrefix = "base64url.bearer.authorization.k8s.io."

// BearerToken returns the bearer token of a request, or "".
func BearerToken(r *http.Request) string {
	h := r.Header["Authorization"]
	if len(h) > 0 {
		scheme, token, ok := strings.Cut(strings.TrimSpace(h[0]), " ")
		if ok && strings.EqualFold(scheme, "bearer") {
			return strings.TrimSpace(token)
		}
	}
	if p := r.Header["Sec-Websocket-Protocol"]; len(p) > 0 {
		return websocketToken(p)
	}
	return ""
}
