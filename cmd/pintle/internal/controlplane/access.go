package controlplane

import (
	"context"
	"crypto/tls"
	"errors"
	"net/http"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/pintle-dev/pintle/core/apiserver"
	"github.com/pintle-dev/pintle/core/audit"
	"github.com/pintle-dev/pintle/core/auth"
	"github.com/pintle-dev/pintle/core/auth/pki"
	"github.com/pintle-dev/pintle/core/auth/rbac"
	"github.com/pintle-dev/pintle/core/auth/tokens"
)

// access is who may do what.
type access struct {
	authenticator *auth.Authenticator
	authorizer    auth.Authorizer
	rbac          *rbac.Authorizer
	tokens        *tokens.Service
	documents     http.Handler
	plugins       accessPlugins
	ready         atomic.Bool
	// audit is nil where no policy is configured.
	audit *audit.Auditor
}

// newAccess starts following the RBAC objects; what it starts ends with ctx.
func newAccess(s *Server, group *errgroup.Group, ctx context.Context) (*access, error) { //nolint:revive // errgroup's context belongs to the group before it
	a := &access{rbac: rbac.New(s.log)}
	keys, err := tokens.OpenKeys(s.dir.Keys())
	if err != nil {
		return nil, err
	}
	if a.tokens, err = tokens.New(tokens.Config{Keys: keys, Objects: s.store, Issuer: s.cfg.API.ServiceAccountIssuer}); err != nil {
		return nil, err
	}
	if a.documents, err = a.tokens.Handler(""); err != nil {
		return nil, err
	}
	if err := a.authenticate(s, group, ctx); err != nil {
		return nil, err
	}
	if err := a.authorize(s, group, ctx); err != nil {
		return nil, err
	}
	group.Go(func() error { return a.rbac.Run(ctx, s.store) })
	return a, nil
}

func (a *access) markReady() { a.ready.Store(true) }

// checks of readiness: nothing is served as ready before permissions are known and the
// first objects are written.
func (a *access) checks() []apiserver.Check {
	return []apiserver.Check{
		{Name: "rbac", Run: func(context.Context) error {
			select {
			case <-a.rbac.Ready():
				return nil
			default:
				return errors.New("the RBAC objects have not been read yet")
			}
		}},
		{Name: "poststarthook/bootstrap", Run: func(context.Context) error {
			if !a.ready.Load() {
				return errors.New("the cluster's first objects are being written")
			}
			return nil
		}},
	}
}

// nodeTLS is what the API server calls node agents with.
func nodeTLS(authority *pki.Authority) (*tls.Config, error) {
	pair, err := authority.KubeletClient()
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS12, RootCAs: authority.Pool(), Certificates: []tls.Certificate{pair.TLS()},
	}, nil
}
