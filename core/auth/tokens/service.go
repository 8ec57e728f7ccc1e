package tokens

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"k8s.io/apimachinery/pkg/util/uuid"

	"github.com/pintle-dev/pintle/core/auth"
	"github.com/pintle-dev/pintle/core/auth/internal/cache"
	"github.com/pintle-dev/pintle/core/store"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// Names in a service account's user.
const (
	userPrefix      = "system:serviceaccount:"
	allGroup        = "system:serviceaccounts"
	groupPrefix     = "system:serviceaccounts:"
	extraPodName    = "authentication.kubernetes.io/pod-name"
	extraPodUID     = "authentication.kubernetes.io/pod-uid"
	extraNodeName   = "authentication.kubernetes.io/node-name"
	extraNodeUID    = "authentication.kubernetes.io/node-uid"
	extraCredential = "authentication.kubernetes.io/credential-id"
)

// UserName returns the user name of a service account.
func UserName(namespace, name string) string { return userPrefix + namespace + ":" + name }

// Getter reads stored objects; the store implements it.
type Getter interface {
	Get(ctx context.Context, key store.Key) (store.Object, error)
}

// Config of a Service.
type Config struct {
	Keys *Keys
	// Issuer is the "iss" of tokens, "https://kubernetes.default.svc.cluster.local" when
	// empty. Changing it voids all tokens.
	Issuer string
	// Audiences are the names of the API server; empty means the issuer.
	Audiences []string
	// Objects are the service accounts, pods, secrets and nodes that tokens are bound to.
	Objects Getter
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Service issues and verifies tokens.
type Service struct {
	keys      *Keys
	issuer    string
	audiences []string
	objects   Getter
	now       func() time.Time
	parser    *jwt.Parser
	// signed keeps tokens whose signature is good, verdicts those whose objects were
	// found to exist lately.
	signed   *cache.Cache[string, *claims]
	verdicts *cache.Cache[string, resource.User]
}

var _ auth.TokenAuthenticator = (*Service)(nil)

// DefaultIssuer of tokens.
const DefaultIssuer = "https://kubernetes.default.svc.cluster.local"

// verdictTTL is how long a deleted pod's token may still be believed; upstream's value.
const verdictTTL = 10 * time.Second

// maxToken bounds what is parsed, in bytes.
const maxToken = 16 << 10

// New returns a Service.
func New(cfg Config) (*Service, error) {
	if cfg.Keys == nil || cfg.Objects == nil {
		return nil, errors.New("service-account tokens: keys and objects are needed")
	}
	s := &Service{
		keys: cfg.Keys, issuer: cfg.Issuer, audiences: cfg.Audiences, objects: cfg.Objects, now: cfg.Now,
		signed: cache.New[string, *claims](2048), verdicts: cache.New[string, resource.User](2048),
	}
	if s.issuer == "" {
		s.issuer = DefaultIssuer
	}
	if len(s.audiences) == 0 {
		s.audiences = []string{s.issuer}
	}
	if s.now == nil {
		s.now = time.Now
	}
	s.parser = jwt.NewParser(
		jwt.WithValidMethods([]string{jwt.SigningMethodES256.Alg()}),
		jwt.WithIssuer(s.issuer),
		jwt.WithExpirationRequired(),
		jwt.WithTimeFunc(func() time.Time { return s.now() }),
	)
	return s, nil
}

// claims of a token, as upstream's.
type claims struct {
	jwt.RegisteredClaims
	Kubernetes *private `json:"kubernetes.io,omitempty"`
}

type private struct {
	Namespace      string           `json:"namespace,omitempty"`
	ServiceAccount ref              `json:"serviceaccount"`
	Pod            *ref             `json:"pod,omitempty"`
	Secret         *ref             `json:"secret,omitempty"`
	Node           *ref             `json:"node,omitempty"`
	WarnAfter      *jwt.NumericDate `json:"warnafter,omitempty"`
}

type ref struct {
	Name string `json:"name"`
	UID  string `json:"uid,omitempty"`
}

// Request for a token.
type Request struct {
	Namespace, Name, UID string // of the service account
	// Audiences; empty means the API server's.
	Audiences []string
	// Lifetime of the token.
	Lifetime time.Duration
	// WarnAfter is when use of the token is due for renewal though it still works; zero
	// means never.
	WarnAfter time.Duration
	// Pod, Secret and Node that the token is bound to: their names and UIDs.
	Pod, Secret, Node *Bound
}

// Bound is an object that a token is bound to.
type Bound struct{ Name, UID string }

// Issued is a token that was made.
type Issued struct {
	Token   string
	Expires time.Time
	// Audiences that the token has.
	Audiences []string
	// ID is the token's "jti".
	ID string
}

// Audiences of the API server.
func (s *Service) Audiences() []string { return slices.Clone(s.audiences) }

// Issue makes a token. It does not check whether the objects exist: who asks has read
// them.
func (s *Service) Issue(_ context.Context, r Request) (Issued, error) {
	now := s.now().Truncate(time.Second)
	out := Issued{Expires: now.Add(r.Lifetime), Audiences: r.Audiences, ID: string(uuid.NewUUID())}
	if len(out.Audiences) == 0 {
		out.Audiences = s.audiences
	}
	p := &private{Namespace: r.Namespace, ServiceAccount: ref{r.Name, r.UID},
		Pod: boundRef(r.Pod), Secret: boundRef(r.Secret), Node: boundRef(r.Node)}
	if r.WarnAfter > 0 {
		p.WarnAfter = jwt.NewNumericDate(now.Add(r.WarnAfter))
	}
	t := jwt.NewWithClaims(jwt.SigningMethodES256, &claims{
		RegisteredClaims: jwt.RegisteredClaims{
			Issuer: s.issuer, Subject: UserName(r.Namespace, r.Name), Audience: out.Audiences, ID: out.ID,
			IssuedAt: jwt.NewNumericDate(now), NotBefore: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(out.Expires),
		},
		Kubernetes: p,
	})
	t.Header["kid"] = s.keys.signingID
	var err error
	if out.Token, err = t.SignedString(s.keys.signing); err != nil {
		return Issued{}, fmt.Errorf("sign token of service account %s/%s: %w", r.Namespace, r.Name, err)
	}
	return out, nil
}

func boundRef(b *Bound) *ref {
	if b == nil {
		return nil
	}
	return &ref{b.Name, b.UID}
}

// AuthenticateToken implements auth.TokenAuthenticator. The outcome for a good token is
// kept for ten seconds, its signature until it expires.
func (s *Service) AuthenticateToken(ctx context.Context, token string, audiences []string) (auth.TokenUser, bool, error) {
	if strings.Count(token, ".") != 2 {
		return auth.TokenUser{}, false, nil
	}
	c, err := s.verify(token)
	if err != nil {
		if s.foreign(token) {
			err = nil
		}
		return auth.TokenUser{}, false, err
	}
	if len(audiences) == 0 {
		audiences = s.audiences
	}
	matched := auth.MatchAudiences(audiences, c.Audience)
	if len(matched) == 0 {
		return auth.TokenUser{}, false, fmt.Errorf("token of %s is meant for %q, not for %q", c.Subject, []string(c.Audience), audiences)
	}
	now := s.now()
	user, ok := s.verdicts.Get(token, now)
	if !ok {
		if user, err = s.user(ctx, c); err != nil {
			return auth.TokenUser{}, false, err
		}
		s.verdicts.Put(token, user, now.Add(verdictTTL))
	}
	return auth.TokenUser{User: user, Audiences: matched}, true, nil
}

// foreign reports whether a token that is no good names an issuer that is not this one, so
// that others may know it.
func (s *Service) foreign(token string) bool {
	var c jwt.RegisteredClaims
	_, _, err := jwt.NewParser().ParseUnverified(token, &c)
	return err == nil && c.Issuer != s.issuer
}

// verify checks signature, issuer, times and form.
func (s *Service) verify(token string) (*claims, error) {
	now := s.now()
	if c, ok := s.signed.Get(token, now); ok {
		return c, nil
	}
	if len(token) > maxToken {
		return nil, fmt.Errorf("token of %d bytes is too long (limit %d)", len(token), maxToken)
	}
	c := &claims{}
	if _, err := s.parser.ParseWithClaims(token, c, s.key); err != nil {
		return nil, fmt.Errorf("service-account token: %w", err)
	}
	if c.Kubernetes == nil || c.Kubernetes.Namespace == "" || c.Kubernetes.ServiceAccount.Name == "" ||
		c.Subject != UserName(c.Kubernetes.Namespace, c.Kubernetes.ServiceAccount.Name) {
		return nil, errors.New("service-account token: its subject is not the service account it names")
	}
	s.signed.Put(token, c, c.ExpiresAt.Time)
	return c, nil
}

func (s *Service) key(t *jwt.Token) (any, error) {
	id, _ := t.Header["kid"].(string)
	if pub, ok := s.keys.verify[id]; ok {
		return pub, nil
	}
	return nil, fmt.Errorf("key %q is unknown", id)
}
