package controlplane

import (
	"time"

	"github.com/pintle-dev/pintle/cmd/pintle/internal/config"
	"github.com/pintle-dev/pintle/core/auth"
	"github.com/pintle-dev/pintle/core/auth/plugins"
	"github.com/pintle-dev/pintle/core/host"
	"github.com/pintle-dev/pintle/sdk/authentication"
	"github.com/pintle-dev/pintle/sdk/authorization"
)

// accessPlugins are the places of the plugins that the configuration names, which the plugins
// take when the host has started them.
type accessPlugins struct {
	authenticators map[string]host.Seat[authentication.Authenticator]
	authorizers    map[string]host.Seat[authorization.Authorizer]
}

// addAuthenticators puts the plugins behind the other authenticators: tokens that somebody here
// knows are not shown to them.
func (p *accessPlugins) addAuthenticators(s *Server, cfg *auth.Config, audiences []string) {
	p.authenticators = map[string]host.Seat[authentication.Authenticator]{}
	for _, c := range s.cfg.API.AuthenticationPlugins {
		a := plugins.NewAuthenticator(plugins.AuthenticatorConfig{
			Name: c.Name, Timeout: time.Duration(c.Timeout), TTL: time.Duration(c.CacheTTL),
			Audiences: audiences, Allow: c.Allow, Logger: s.log,
		})
		p.authenticators[c.Name] = a
		cfg.Tokens = append(cfg.Tokens, a)
	}
}

// addAuthorizers puts the plugins before and behind what authorizes else.
func (p *accessPlugins) addAuthorizers(s *Server, between auth.Authorizer) auth.Authorizer {
	p.authorizers = map[string]host.Seat[authorization.Authorizer]{}
	if len(s.cfg.API.AuthorizationPlugins) == 0 {
		return between
	}
	var before, after auth.Union
	for _, c := range s.cfg.API.AuthorizationPlugins {
		a := plugins.NewAuthorizer(plugins.AuthorizerConfig{
			Name: c.Name, Timeout: time.Duration(c.Timeout), DenyOnFailure: c.FailurePolicy == config.FailureDeny,
			AuthorizedTTL: time.Duration(c.AuthorizedTTL), UnauthorizedTTL: time.Duration(c.UnauthorizedTTL),
		})
		p.authorizers[c.Name] = a
		if c.Position == config.BeforeRBAC {
			before = append(before, a)
		} else {
			after = append(after, a)
		}
	}
	return append(append(before, between), after...)
}
