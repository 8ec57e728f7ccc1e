package structured

import (
	"context"
	"fmt"
	"log/slog"
	"reflect"
	"sync/atomic"
	"time"

	"k8s.io/apiserver/pkg/apis/apiserver"
	"k8s.io/apiserver/pkg/apis/apiserver/validation"
	authenticationcel "k8s.io/apiserver/pkg/authentication/cel"

	"github.com/pintle-dev/pintle/core/auth"
	"github.com/pintle-dev/pintle/core/auth/oidc"
	"github.com/pintle-dev/pintle/core/internal/filewatch"
)

// AuthenticationConfig of an Authentication.
type AuthenticationConfig struct {
	// File is an AuthenticationConfiguration.
	File string
	// OwnIssuers are issuers of the cluster's own tokens, which the file may not name.
	OwnIssuers []string
	// Retry is the pause between attempts to reach a provider, 10 s when zero.
	Retry time.Duration
	// Logger; nil means slog.Default.
	Logger *slog.Logger
}

// Authentication recognises the tokens of the providers in a file.
type Authentication struct {
	cfg      AuthenticationConfig
	compiler authenticationcel.Compiler
	first    []byte
	// anonymous of the file as it was at first: changes of it need a new server.
	anonymous *apiserver.AnonymousAuthConfig
	current   atomic.Pointer[providers]
}

var _ auth.TokenAuthenticator = (*Authentication)(nil)

// providers are those of one state of the file. The cache goes with them, so that nothing is
// remembered of a configuration that is past.
type providers struct {
	list   []*oidc.Authenticator
	cache  *auth.TokenCache
	cancel context.CancelFunc
}

// goodFor is how long a token that was verified is believed; upstream's value.
const goodFor = 10 * time.Second

// NewAuthentication reads the file and begins to look for its providers. They end with ctx.
func NewAuthentication(ctx context.Context, cfg AuthenticationConfig) (*Authentication, error) {
	const what = "authentication configuration"
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	data, err := read(what, cfg.File)
	if err != nil {
		return nil, err
	}
	a := &Authentication{cfg: cfg, compiler: authenticationcel.NewDefaultCompiler(), first: data}
	parsed, err := a.parse(data)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", what, cfg.File, err)
	}
	a.anonymous = parsed.Anonymous
	p, err := a.make(ctx, parsed)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", what, cfg.File, err)
	}
	a.current.Store(p)
	return a, nil
}

// Anonymous returns what the file says of requests without credentials; said is false where
// it says nothing. No paths means all.
func (a *Authentication) Anonymous() (enabled bool, paths []string, said bool) {
	if a.anonymous == nil {
		return false, nil, false
	}
	for _, c := range a.anonymous.Conditions {
		paths = append(paths, c.Path)
	}
	return a.anonymous.Enabled, paths, true
}

func (a *Authentication) parse(data []byte) (*apiserver.AuthenticationConfiguration, error) {
	c, err := decode[*apiserver.AuthenticationConfiguration](data)
	if err != nil {
		return nil, err
	}
	if err := validation.ValidateAuthenticationConfiguration(a.compiler, c, a.cfg.OwnIssuers).ToAggregate(); err != nil {
		return nil, err
	}
	return c, nil
}

func (a *Authentication) make(ctx context.Context, c *apiserver.AuthenticationConfiguration) (*providers, error) {
	ctx, cancel := context.WithCancel(ctx)
	p := &providers{cancel: cancel}
	for _, jwt := range c.JWT {
		one, err := oidc.New(ctx, oidc.Config{JWT: jwt, Compiler: a.compiler, DisallowedIssuers: a.cfg.OwnIssuers, Retry: a.cfg.Retry, Logger: a.cfg.Logger})
		if err != nil {
			cancel()
			return nil, err
		}
		p.list = append(p.list, one)
	}
	p.cache = auth.NewTokenCache(auth.TokenUnion(p.tokens()), goodFor, 0, nil)
	return p, nil
}

func (p *providers) tokens() []auth.TokenAuthenticator {
	out := make([]auth.TokenAuthenticator, len(p.list))
	for i, one := range p.list {
		out[i] = one
	}
	return out
}

// AuthenticateToken implements auth.TokenAuthenticator.
func (a *Authentication) AuthenticateToken(ctx context.Context, token string, audiences []string) (auth.TokenUser, bool, error) {
	return a.current.Load().cache.AuthenticateToken(ctx, token, audiences)
}

// patience is how long a new configuration waits for its providers before it takes the place
// of the old one, or is given up.
const patience = time.Minute

// Run follows the file until ctx ends.
func (a *Authentication) Run(ctx context.Context) error {
	return filewatch.Follow(ctx, a.cfg.File, a.first, a.cfg.Logger, func(data []byte) {
		if err := a.reload(ctx, data); err != nil && ctx.Err() == nil {
			a.cfg.Logger.Error("the authentication configuration has changed and is no good; what it said before holds", "file", a.cfg.File, "error", err)
		}
	})
}

func (a *Authentication) reload(ctx context.Context, data []byte) error {
	c, err := a.parse(data)
	if err != nil {
		return err
	}
	if !reflect.DeepEqual(c.Anonymous, a.anonymous) {
		return fmt.Errorf("anonymous: changes need a restart of the server")
	}
	// They live as long as the server, or the next change.
	p, err := a.make(ctx, c)
	if err != nil {
		return err
	}
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	for i, one := range p.list {
		select {
		case <-one.Ready():
		case <-ctx.Done():
			p.cancel()
			return ctx.Err()
		case <-timeout.C:
			p.cancel()
			return fmt.Errorf("jwt[%d].issuer.url: %s could not be reached within %v", i, c.JWT[i].Issuer.URL, patience)
		}
	}
	old := a.current.Swap(p)
	// Requests that have the old ones in hand end soon.
	time.AfterFunc(patience, old.cancel)
	a.cfg.Logger.Info("the authentication configuration is in force", "file", a.cfg.File, "issuers", len(p.list))
	return nil
}
