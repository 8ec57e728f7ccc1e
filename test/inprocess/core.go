package inprocess

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"

	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/rest"

	"github.com/pintle-dev/pintle/core/admission/plugins"
	"github.com/pintle-dev/pintle/core/admission/policy"
	"github.com/pintle-dev/pintle/core/admission/webhook"
	"github.com/pintle-dev/pintle/core/apiserver"
	"github.com/pintle-dev/pintle/core/apiserver/aggregation"
	"github.com/pintle-dev/pintle/core/apiserver/customresources"
	"github.com/pintle-dev/pintle/core/auth"
	"github.com/pintle-dev/pintle/core/auth/pki"
	"github.com/pintle-dev/pintle/core/auth/rbac"
	"github.com/pintle-dev/pintle/core/auth/tokens"
	"github.com/pintle-dev/pintle/core/host"
	"github.com/pintle-dev/pintle/core/store"
	"github.com/pintle-dev/pintle/crd/registry"
	"github.com/pintle-dev/pintle/plugins/workloads"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// CoreConfig is what a [Core] is made of.
type CoreConfig struct {
	// RBAC decides about requests; without it everybody who is known may do everything.
	RBAC bool
	// Controllers runs those of Kubernetes' own kinds: garbage collection, the end of
	// namespaces, service accounts, deployments and so on. Without them nothing happens
	// beside what the API server does.
	Controllers bool
	// Plugins are run by a plugin host.
	Plugins []host.Spec
	// Authenticators and Authorizers name the plugins that are asked about tokens, behind what
	// the core knows itself, and about requests, before RBAC.
	Authenticators, Authorizers []string
	// Logger of all parts; nil discards.
	Logger *slog.Logger
}

// Core is a control plane without nodes in the process that starts it: store, API server of
// the Kubernetes kinds and custom resources, admission by webhooks and policies, users, and
// a plugin host. Its state is gone when it ends.
type Core struct {
	// Admin is for clients that may do everything, without a limit to their requests.
	Admin *rest.Config
	// Host runs the plugins; nil where there are none.
	Host *host.Host

	cfg       CoreConfig
	log       *slog.Logger
	dir       string
	authority *pki.Authority
	store     *store.Store
	tokens    *auth.TokenStore
	accounts  *tokens.Service
	rbac      *rbac.Authorizer
	types     *customresources.Controller
	webhooks  *webhook.Webhooks
	policies  *policy.Policies
	plugins   *plugins.Plugins
	others    *aggregation.Aggregator
	seats     seats
	api       *apiserver.Server
	socket    string

	// What serves ends after what calls it.
	serving *phase
	working *phase
	hosting *phase
}

// StartCore starts a core, which runs until Close. It is ready when StartCore returns: its first
// namespaces are there and its plugins at work.
func StartCore(ctx context.Context, cfg CoreConfig) (_ *Core, err error) {
	c := &Core{
		cfg: cfg, log: cmp.Or(cfg.Logger, slog.New(slog.DiscardHandler)), tokens: auth.NewTokenStore(),
		serving: newPhase(), working: newPhase(), hosting: newPhase(),
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.Close())
		}
	}()
	if c.dir, err = os.MkdirTemp(fastDir(), "pintle-"); err != nil {
		return nil, fmt.Errorf("core: %w", err)
	}
	if c.authority, err = pki.Open(pki.Config{Dir: filepath.Join(c.dir, "pki"), Logger: c.log}); err != nil {
		return nil, fmt.Errorf("core: %w", err)
	}
	if c.store, err = store.Open(ctx, store.Config{
		Dir: filepath.Join(c.dir, "store"), Bootstrap: true, MinFreeBytes: 1 << 20, Logger: c.log,
	}); err != nil {
		return nil, fmt.Errorf("core: %w", err)
	}
	reg := registry.New()
	if err := c.newAPI(reg); err != nil {
		return nil, fmt.Errorf("core: %w", err)
	}
	c.types = customresources.New(customresources.Config{Store: c.store, Registry: reg, Purger: c.api, Logger: c.log})
	if err := c.serve(ctx); err != nil {
		return nil, fmt.Errorf("core: %w", err)
	}
	if err := c.firstObjects(ctx); err != nil {
		return nil, fmt.Errorf("core: first objects: %w", err)
	}
	if err := c.runPlugins(ctx); err != nil {
		return nil, fmt.Errorf("core: %w", err)
	}
	return c, nil
}

// serve listens and starts what follows the store.
func (c *Core) serve(ctx context.Context) error {
	var lc net.ListenConfig
	tcp, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	c.socket = filepath.Join(c.dir, "api.sock")
	unix, err := lc.Listen(ctx, "unix", c.socket)
	if err != nil {
		return errors.Join(fmt.Errorf("listen: %w", err), tcp.Close())
	}
	c.serving.run(func(ctx context.Context) error { return c.api.Serve(ctx, tcp, unix) })
	c.working.run(c.types.Run)
	c.working.run(c.others.Run)
	c.working.run(func(ctx context.Context) error { return c.webhooks.Run(ctx, c.store) })
	c.working.run(func(ctx context.Context) error { return c.policies.Run(ctx, c.store) })
	c.working.run(func(ctx context.Context) error { return c.rbac.Run(ctx, c.store) })
	token := rand.Text()
	c.tokens.Register(token, resource.User{Name: "admin", Groups: []string{auth.MastersGroup}})
	c.Admin = &rest.Config{
		Host: "https://" + tcp.Addr().String(), BearerToken: token, QPS: -1,
		TLSClientConfig: rest.TLSClientConfig{CAData: c.authority.CAPEM()},
		WarningHandler:  rest.NoWarnings{}, // a test that wants them sets its own
	}
	return nil
}

// runPlugins returns when the plugins are at work.
func (c *Core) runPlugins(ctx context.Context) error {
	specs := c.cfg.Plugins
	if c.cfg.Controllers {
		specs = append(specs[:len(specs):len(specs)], host.Spec{Name: "workloads", Placement: host.Builtin, Builtin: workloads.New()})
	}
	if len(specs) == 0 {
		return nil
	}
	h, err := host.New(host.Config{
		Dir: filepath.Join(c.dir, "host"), SocketPath: c.socket, Tokens: c.tokens, Client: c.Admin, ManagePermissions: true,
		Version: "test", Logger: c.log, OnBundle: func(_ string, b resource.Bundle) error { return c.api.Install(b) },
		OnAPIService: c.offerAPIService, Admission: c.plugins,
		Authenticators: c.seats.authenticators, Authorizers: c.seats.authorizers,
	})
	if err != nil {
		return err
	}
	for _, spec := range specs {
		if err := h.Add(spec); err != nil {
			return err
		}
	}
	c.Host = h
	c.hosting.run(h.Run)
	return h.WaitHealthy(ctx)
}

// User is for clients that are somebody, who is authenticated and has what RBAC gives them.
func (c *Core) User(name string, groups ...string) *rest.Config {
	token := rand.Text()
	c.tokens.Register(token, resource.User{Name: name, Groups: append(groups[:len(groups):len(groups)], auth.AuthenticatedGroup)})
	out := rest.CopyConfig(c.Admin)
	out.BearerToken = token
	return out
}

// Close ends the core and removes what it has stored. Its error is what went wrong while it
// ran.
func (c *Core) Close() error {
	errs := []error{c.hosting.end(), c.working.end(), c.serving.end()}
	if c.store != nil {
		errs = append(errs, c.store.Close())
	}
	if c.dir != "" {
		errs = append(errs, os.RemoveAll(c.dir))
	}
	return errors.Join(errs...)
}

// phase is a set of what runs until it is told to end.
type phase struct {
	group  *errgroup.Group
	ctx    context.Context
	cancel context.CancelFunc
}

func newPhase() *phase {
	ctx, cancel := context.WithCancel(context.Background())
	return &phase{&errgroup.Group{}, ctx, cancel}
}

func (p *phase) run(f func(context.Context) error) {
	p.group.Go(func() error { return f(p.ctx) })
}

func (p *phase) end() error {
	p.cancel()
	if err := p.group.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}
