package serviceproxy

import (
	"context"
	"errors"

	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/knftables"

	"github.com/pintle-dev/pintle/sdk/controller"
	"github.com/pintle-dev/pintle/sdk/plugin"
)

// Name of the plugin in the catalogue.
const Name = "serviceproxy"

// Proxy implements controller.Controller, one on each node.
type Proxy struct {
	settings Settings
}

var _ controller.Controller = (*Proxy)(nil)

// New returns the plugin with default settings.
func New() *Proxy { return &Proxy{settings: defaultSettings()} }

// Info says who the plugin is.
func (p *Proxy) Info() plugin.Info {
	read := []string{"list", "watch"}
	return plugin.Info{
		Name:        Name,
		Version:     "v0.1.0",
		Description: "Cluster IPs, node ports and external IPs of Services on each node through nftables",
		Permissions: []rbacv1.PolicyRule{
			{APIGroups: []string{""}, Resources: []string{"services", "nodes"}, Verbs: read},
			{APIGroups: []string{"discovery.k8s.io"}, Resources: []string{"endpointslices"}, Verbs: read},
		},
	}
}

// ConfigSchema describes Settings.
func (p *Proxy) ConfigSchema() []byte { return []byte(settingsSchema) }

// Configure checks and keeps the settings.
func (p *Proxy) Configure(_ context.Context, raw []byte) error {
	s, err := parseSettings(raw)
	if err != nil {
		return err
	}
	p.settings = s
	return nil
}

// Clean removes the tables that a plugin with these settings left, of both families, also
// where that plugin does not run any more. A plugin that stops leaves them: services go on
// working while it is restarted.
func Clean(ctx context.Context, settings []byte) error {
	s, err := parseSettings(settings)
	if err != nil {
		return err
	}
	var errs []error
	for _, f := range []knftables.Family{knftables.IPv4Family, knftables.IPv6Family} {
		t, err := newTable(f, s.TableName)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		errs = append(errs, t.remove(ctx))
	}
	return errors.Join(errs...)
}
