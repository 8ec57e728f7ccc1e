package oidc

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/apiserver/pkg/apis/apiserver"
	"k8s.io/apiserver/pkg/apis/apiserver/validation"
	authenticationcel "k8s.io/apiserver/pkg/authentication/cel"

	"github.com/pintle-dev/pintle/core/auth"
)

// Config of an Authenticator.
type Config struct {
	// JWT describes the issuer and what becomes of its claims.
	JWT apiserver.JWTAuthenticator
	// Compiler of CEL expressions; one serves many authenticators. nil makes one.
	Compiler authenticationcel.Compiler
	// DisallowedIssuers are those whose tokens others know.
	DisallowedIssuers []string
	// Retry is the pause between attempts to reach the provider, 10 s when zero.
	Retry time.Duration
	// Logger; nil means slog.Default.
	Logger *slog.Logger
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Authenticator recognises the ID tokens of one issuer.
type Authenticator struct {
	issuer   string
	jwt      apiserver.JWTAuthenticator
	mapper   authenticationcel.CELMapper
	client   *http.Client
	config   *oidc.Config
	required map[string]string
	groups   *distributed

	// verifier is nil until the provider has been reached.
	verifier atomic.Pointer[oidc.IDTokenVerifier]
	ready    chan struct{}
}

var _ auth.TokenAuthenticator = (*Authenticator)(nil)

// algorithms that a provider may sign with.
var algorithms = []string{oidc.RS256, oidc.RS384, oidc.RS512, oidc.ES256, oidc.ES384, oidc.ES512, oidc.PS256, oidc.PS384, oidc.PS512}

// requestTimeout of requests to a provider.
const requestTimeout = 30 * time.Second

// New checks the configuration and starts looking for the provider, until it is found or ctx
// ends; the authenticator must not be used after that.
func New(ctx context.Context, cfg Config) (*Authenticator, error) {
	if cfg.Compiler == nil {
		cfg.Compiler = authenticationcel.NewDefaultCompiler()
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Retry == 0 {
		cfg.Retry = 10 * time.Second
	}
	mapper, errs := validation.CompileAndValidateJWTAuthenticator(cfg.Compiler, cfg.JWT, cfg.DisallowedIssuers)
	if err := errs.ToAggregate(); err != nil {
		return nil, fmt.Errorf("issuer %s: %w", cfg.JWT.Issuer.URL, err)
	}
	client, err := clientFor(cfg.JWT.Issuer)
	if err != nil {
		return nil, fmt.Errorf("issuer %s: %w", cfg.JWT.Issuer.URL, err)
	}
	a := &Authenticator{
		issuer: cfg.JWT.Issuer.URL, jwt: cfg.JWT, mapper: mapper, client: client, required: map[string]string{}, ready: make(chan struct{}),
		// The library checks one audience; the configuration may have several.
		config: &oidc.Config{SkipClientIDCheck: true, SupportedSigningAlgs: algorithms, Now: cfg.Now},
	}
	for _, r := range cfg.JWT.ClaimValidationRules {
		if r.Claim != "" {
			a.required[r.Claim] = r.RequiredValue
		}
	}
	if claim := cfg.JWT.ClaimMappings.Groups.Claim; claim != "" {
		a.groups = &distributed{claim: claim, client: client, config: a.config, audiences: cfg.JWT.Issuer.Audiences}
	}
	go a.discover(ctx, cfg.Retry, cfg.Logger)
	return a, nil
}

// Ready is closed once the provider has been reached.
func (a *Authenticator) Ready() <-chan struct{} { return a.ready }

func (a *Authenticator) discover(ctx context.Context, retry time.Duration, log *slog.Logger) {
	ctx = oidc.ClientContext(ctx, a.client)
	for {
		provider, err := oidc.NewProvider(ctx, a.issuer)
		if err == nil {
			a.verifier.Store(provider.VerifierContext(ctx, a.config))
			close(a.ready)
			return
		}
		if ctx.Err() != nil {
			return
		}
		log.Warn("an OpenID Connect provider can't be reached; its tokens are refused until it is", "issuer", a.issuer, "error", err)
		select {
		case <-time.After(retry):
		case <-ctx.Done():
			return
		}
	}
}

func clientFor(issuer apiserver.Issuer) (*http.Client, error) {
	conf := &tls.Config{MinVersion: tls.VersionTLS12}
	if issuer.CertificateAuthority != "" {
		conf.RootCAs = x509.NewCertPool()
		if !conf.RootCAs.AppendCertsFromPEM([]byte(issuer.CertificateAuthority)) {
			return nil, errors.New("certificateAuthority has no certificate in it")
		}
	}
	var transport http.RoundTripper = utilnet.SetTransportDefaults(&http.Transport{TLSClientConfig: conf})
	if issuer.DiscoveryURL != "" {
		to, err := url.Parse(issuer.DiscoveryURL)
		if err != nil {
			return nil, fmt.Errorf("discoveryURL: %w", err)
		}
		transport = &elsewhere{transport, strings.TrimSuffix(issuer.URL, "/") + "/.well-known/openid-configuration", to}
	}
	return &http.Client{Transport: transport, Timeout: requestTimeout}, nil
}

// elsewhere sends requests for one URL to another.
type elsewhere struct {
	http.RoundTripper
	from string
	to   *url.URL
}

// RoundTrip implements http.RoundTripper.
func (e *elsewhere) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method == http.MethodGet && r.URL.String() == e.from {
		clone := r.Clone(r.Context())
		to := *e.to
		clone.URL, clone.Host = &to, ""
		r = clone
	}
	return e.RoundTripper.RoundTrip(r)
}

// issuerOf reads the issuer of a token without believing it.
func issuerOf(token string) (string, bool) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return "", false
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return "", false
	}
	var c struct {
		Issuer string `json:"iss"`
	}
	if err := json.Unmarshal(payload, &c); err != nil {
		return "", false
	}
	if c.Issuer == "accounts.google.com" {
		c.Issuer = "https://accounts.google.com"
	}
	return c.Issuer, true
}

// AuthenticateToken implements auth.TokenAuthenticator; audiences are those of the
// configuration.
func (a *Authenticator) AuthenticateToken(ctx context.Context, token string, _ []string) (auth.TokenUser, bool, error) {
	if issuer, ok := issuerOf(token); !ok || issuer != a.issuer {
		return auth.TokenUser{}, false, nil
	}
	verifier := a.verifier.Load()
	if verifier == nil {
		return auth.TokenUser{}, false, fmt.Errorf("oidc: authenticator for issuer %q is not initialized", a.issuer)
	}
	c, err := verifiedClaims(ctx, verifier, token, a.jwt.Issuer.Audiences)
	if err != nil {
		return auth.TokenUser{}, false, fmt.Errorf("oidc: verify token: %w", err)
	}
	if a.groups != nil {
		if err := a.groups.expand(ctx, c); err != nil {
			return auth.TokenUser{}, false, fmt.Errorf("oidc: could not expand distributed claims: %w", err)
		}
	}
	user, err := a.user(ctx, c)
	if err != nil {
		return auth.TokenUser{}, false, fmt.Errorf("oidc: %w", err)
	}
	return auth.TokenUser{User: user}, true, nil
}

// verifiedClaims checks signature, issuer, times and audience of a token.
func verifiedClaims(ctx context.Context, v *oidc.IDTokenVerifier, token string, audiences []string) (claims, error) {
	t, err := v.Verify(ctx, token)
	if err != nil {
		return nil, err
	}
	if len(auth.MatchAudiences(audiences, t.Audience)) == 0 {
		return nil, fmt.Errorf("expected audience in %q got %q", audiences, t.Audience)
	}
	var c claims
	if err := t.Claims(&c); err != nil {
		return nil, fmt.Errorf("parse claims: %w", err)
	}
	return c, nil
}
