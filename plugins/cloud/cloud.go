package cloud

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	rbacv1 "k8s.io/api/rbac/v1"

	sdkcloud "github.com/pintle-dev/pintle/sdk/cloud"
	"github.com/pintle-dev/pintle/sdk/controller"
	"github.com/pintle-dev/pintle/sdk/peers"
	"github.com/pintle-dev/pintle/sdk/plugin"
	"github.com/pintle-dev/pintle/sdk/protocol"
	"github.com/pintle-dev/pintle/sdk/remote"
)

// Cloud is the plugin.
type Cloud struct {
	settings Settings
}

var _ controller.Controller = (*Cloud)(nil)

// New returns the plugin with the default settings.
func New() *Cloud { return &Cloud{settings: defaultSettings()} }

// Info says who the plugin is and which permissions it asks for.
func (c *Cloud) Info() plugin.Info {
	rule := func(resources []string, verbs ...string) rbacv1.PolicyRule {
		return rbacv1.PolicyRule{APIGroups: []string{""}, Resources: resources, Verbs: verbs}
	}
	return plugin.Info{
		Name:        "cloud",
		Version:     "v0.1.0",
		Description: "Nodes, load balancers and routes of a cloud, which another plugin provides.",
		Permissions: []rbacv1.PolicyRule{
			rule([]string{"nodes"}, "get", "list", "watch", "update", "patch", "delete"),
			rule([]string{"nodes/status"}, "patch", "update"),
			rule([]string{"services"}, "get", "list", "watch", "update", "patch"),
			rule([]string{"services/status"}, "patch", "update"),
			rule([]string{"events"}, "create", "patch", "update"),
		},
	}
}

// ConfigSchema returns the structural schema of Settings.
func (c *Cloud) ConfigSchema() []byte { return settingsSchema() }

// Configure takes the settings; unknown fields are refused.
func (c *Cloud) Configure(_ context.Context, settings []byte) error {
	parsed, err := parseSettings(settings)
	if err != nil {
		return err
	}
	c.settings = parsed
	return nil
}

// Run runs the controllers until ctx is done, from when the provider is there. It ends with an
// error where the provider becomes another, or has other services: the host starts it again.
func (c *Cloud) Run(ctx context.Context, env plugin.Env) error {
	log := env.Log
	if log == nil {
		log = slog.Default()
	}
	p, err := peers.Connect(env)
	if err != nil {
		return fmt.Errorf("find the provider: %w", err)
	}
	defer p.Close()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	f := &finder{want: c.settings.Provider, log: log, services: func(ctx context.Context, name string) (sdkcloud.Services, error) {
		return remote.CloudServices(ctx, p.Conn(name))
	}}
	lists := make(chan []peers.Peer)
	go func() {
		err := p.Watch(ctx, protocol.PointCloud, func(list []peers.Peer) {
			select {
			case lists <- list:
			case <-ctx.Done():
			}
		})
		cancel(err)
	}()
	found, err := f.find(ctx, nil, lists)
	if err != nil {
		return errors.Join(err, context.Cause(ctx))
	}
	log.Info("the provider is there", "plugin", f.name, "provider", found.Provider)
	go func() { cancel(f.follow(ctx, lists)) }()
	if err := c.run(ctx, env, found, log); err != nil {
		return err
	}
	return context.Cause(ctx)
}
