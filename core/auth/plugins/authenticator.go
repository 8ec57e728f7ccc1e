package plugins

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/pintle-dev/pintle/core/auth"
	"github.com/pintle-dev/pintle/core/internal/place"
	"github.com/pintle-dev/pintle/sdk/authentication"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// Defaults of both sorts of plugins.
const (
	DefaultTimeout = 5 * time.Second
	// patience is how long a request waits for a plugin that is away: it may be about to
	// come back.
	patience = 500 * time.Millisecond
)

// AuthenticatorConfig is the operator's word on an authentication plugin.
type AuthenticatorConfig struct {
	Name string
	// Timeout of a call, DefaultTimeout where zero.
	Timeout time.Duration
	// TTL is how long answers are remembered, good and bad ones; 2 min where zero, not at
	// all where negative.
	TTL time.Duration
	// Audiences are the names of the API server, which a token is asked to be meant for
	// where a request does not say.
	Audiences []string
	// Allow are identities of the cluster that the plugin may name nevertheless: names of
	// users and groups, with a trailing "*" for all that begin so.
	Allow  []string
	Logger *slog.Logger
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Authenticator asks a plugin whose a token is. What it says is an answer about a token: where
// the plugin is away there is none, and others are asked.
type Authenticator struct {
	auth.TokenAuthenticator // remembers what tokenPlugin says
	place                   place.Place[authentication.Authenticator]
}

// NewAuthenticator returns an authenticator whose plugin is away.
func NewAuthenticator(cfg AuthenticatorConfig) *Authenticator {
	if cfg.Timeout <= 0 {
		cfg.Timeout = DefaultTimeout
	}
	if cfg.TTL == 0 {
		cfg.TTL = 2 * time.Minute
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	a := &Authenticator{}
	inner := &tokenPlugin{cfg: cfg, place: &a.place}
	a.TokenAuthenticator = inner
	if cfg.TTL > 0 {
		a.TokenAuthenticator = auth.NewTokenCache(inner, cfg.TTL, cfg.TTL, cfg.Now)
	}
	return a
}

// Attach lets a plugin be asked from now on. The channel is closed when the calls of the one
// before have ended.
func (a *Authenticator) Attach(impl authentication.Authenticator) (drained <-chan struct{}) {
	return a.place.Set(impl)
}

// Detach says that the plugin is away. The channel is closed when its calls have ended.
func (a *Authenticator) Detach() (drained <-chan struct{}) { return a.place.Leave() }

// tokenPlugin asks about each token.
type tokenPlugin struct {
	cfg   AuthenticatorConfig
	place *place.Place[authentication.Authenticator]
}

// AuthenticateToken implements auth.TokenAuthenticator.
func (p *tokenPlugin) AuthenticateToken(ctx context.Context, token string, audiences []string) (auth.TokenUser, bool, error) {
	if len(token) > authentication.MaxTokenBytes {
		return auth.TokenUser{}, false, nil
	}
	if len(audiences) == 0 {
		audiences = p.cfg.Audiences
	}
	ctx, cancel := context.WithTimeout(ctx, p.cfg.Timeout)
	defer cancel()
	s, err := p.place.Take(ctx, patience)
	if err != nil {
		return auth.TokenUser{}, false, p.failed(err)
	}
	defer s.Done()
	r, ok, err := s.Value.AuthenticateToken(ctx, authentication.Token{Secret: token, Audiences: audiences})
	if err != nil {
		return auth.TokenUser{}, false, p.failed(err)
	}
	if !ok {
		return auth.TokenUser{}, false, nil
	}
	if why := p.reserved(&r.User); why != "" {
		p.cfg.Logger.Error("an authentication plugin named an identity of the cluster and is not believed: see api.authenticationPlugins[].allow",
			"plugin", p.cfg.Name, "identity", why)
		return auth.TokenUser{}, false, p.failed(fmt.Errorf("it named %s, which is not for plugins to give", why))
	}
	meant := r.Audiences
	if len(meant) == 0 {
		meant = p.cfg.Audiences
	}
	matched := auth.MatchAudiences(audiences, meant)
	if len(matched) == 0 && len(audiences) > 0 {
		return auth.TokenUser{}, false, nil
	}
	return auth.TokenUser{User: r.User, Audiences: matched}, true, nil
}

func (p *tokenPlugin) failed(err error) error {
	return fmt.Errorf("authentication plugin %q: %w", p.cfg.Name, err)
}

// reserved names an identity of the user that is the cluster's own, "" where there is none.
func (p *tokenPlugin) reserved(u *resource.User) string {
	if u.Name == "" {
		return "a user without a name"
	}
	if own(u.Name) && !p.allowed(u.Name) {
		return fmt.Sprintf("user %q", u.Name)
	}
	for _, g := range u.Groups {
		if own(g) && g != auth.AuthenticatedGroup && !p.allowed(g) {
			return fmt.Sprintf("group %q", g)
		}
	}
	for k := range u.Extra {
		domain, _, _ := strings.Cut(k, "/")
		for _, d := range []string{"kubernetes.io", "k8s.io", "pintle.dev"} {
			if (domain == d || strings.HasSuffix(domain, "."+d)) && !p.allowed(k) {
				return fmt.Sprintf("extra key %q", k)
			}
		}
	}
	return ""
}

func own(name string) bool {
	return strings.HasPrefix(name, "system:") || strings.HasPrefix(name, "pintle:")
}

func (p *tokenPlugin) allowed(name string) bool {
	return slices.ContainsFunc(p.cfg.Allow, func(a string) bool {
		prefix, wild := strings.CutSuffix(a, "*")
		return a == name || wild && strings.HasPrefix(name, prefix)
	})
}
