package inprocess

import (
	"crypto/tls"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/pintle-dev/pintle/core/apiserver/aggregation"
	"github.com/pintle-dev/pintle/core/auth"
	"github.com/pintle-dev/pintle/core/auth/plugins"
	"github.com/pintle-dev/pintle/core/host"
	"github.com/pintle-dev/pintle/crd/registry"
	"github.com/pintle-dev/pintle/sdk/apiservice"
	"github.com/pintle-dev/pintle/sdk/authentication"
	"github.com/pintle-dev/pintle/sdk/authorization"
)

// seats are the places of plugins that decide about access, which they take when they have been
// started.
type seats struct {
	authenticators map[string]host.Seat[authentication.Authenticator]
	authorizers    map[string]host.Seat[authorization.Authorizer]
}

// askAuthenticators makes the seats of the plugins that are asked about tokens. Answers are not
// remembered: a test sees what a plugin says now.
func (c *Core) askAuthenticators() (out []auth.TokenAuthenticator) {
	c.seats.authenticators = map[string]host.Seat[authentication.Authenticator]{}
	for _, name := range c.cfg.Authenticators {
		a := plugins.NewAuthenticator(plugins.AuthenticatorConfig{Name: name, TTL: -1, Audiences: c.accounts.Audiences(), Logger: c.log})
		c.seats.authenticators[name] = a
		out = append(out, a)
	}
	return out
}

// askAuthorizers makes the seats of the plugins that are asked about requests.
func (c *Core) askAuthorizers() (out auth.Union) {
	c.seats.authorizers = map[string]host.Seat[authorization.Authorizer]{}
	for _, name := range c.cfg.Authorizers {
		a := plugins.NewAuthorizer(plugins.AuthorizerConfig{Name: name, AuthorizedTTL: -1, UnauthorizedTTL: -1})
		c.seats.authorizers[name] = a
		out = append(out, a)
	}
	return out
}

// aggregator serves what others do: plugins, and the servers of APIServices.
func (c *Core) aggregator(reg *registry.Registry) *aggregation.Aggregator {
	return aggregation.New(aggregation.Config{
		Store: c.store, Types: reg, Logger: c.log,
		Priority: func(schema.GroupVersion) aggregation.Priority { return aggregation.Priority{Group: 1000, Version: 100} },
		ClientCertificate: func() (tls.Certificate, error) {
			proxy, err := c.authority.FrontProxy()
			if err != nil {
				return tls.Certificate{}, err
			}
			return proxy.Client.TLS(), nil
		},
	})
}

// offerAPIService takes what a plugin serves itself.
func (c *Core) offerAPIService(name string, served []apiservice.GroupVersion, plugin host.APIService) error {
	offered := make([]aggregation.Offered, 0, len(served))
	for _, gv := range served {
		offered = append(offered, aggregation.Offered{
			GroupVersion: schema.GroupVersion{Group: gv.Group, Version: gv.Version},
			Priority:     aggregation.Priority{Group: gv.GroupPriority, Version: gv.VersionPriority},
		})
	}
	return c.others.SetPlugin(name, offered, plugin)
}
