package cluster

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"github.com/pintle-dev/pintle/core/host"
	"github.com/pintle-dev/pintle/sdk/plugin"
	"github.com/pintle-dev/pintle/sdk/protocol"
	"github.com/pintle-dev/pintle/test/inprocess"
)

// Patience is how long a cluster, its plugins among it, may take to start.
const Patience = 30 * time.Second

// Options say what a cluster has. The zero value is an API server that everybody who is
// known may use in every way.
type Options struct {
	// Plugins are at work when the cluster has started.
	Plugins []Plugin
	// CRDs are files, or directories of files, with CustomResourceDefinitions as YAML or
	// JSON. They are served when the cluster has started. Other objects in them are left out.
	CRDs []string
	// RBAC holds users and plugins to the roles they have. A plugin has what its Info asks
	// for.
	RBAC bool
	// Controllers runs those of Kubernetes' own kinds: garbage collection, the end of
	// namespaces, service accounts, deployments and so on. As in envtest, nobody does that
	// without them.
	Controllers bool
	// Log gets what the cluster has to say; nil discards it.
	Log *slog.Logger
}

// Plugin is a plugin under test.
type Plugin struct {
	// Impl is served over gRPC in the test's process. Either it or Command is needed.
	Impl plugin.Plugin
	// Points are those that are offered; nil means those that Impl names itself, by a method
	// Points, or else all that it implements.
	//
	// An authenticator is asked about tokens that are not the cluster's, an authorizer before
	// RBAC; neither from a process.
	Points []plugin.Point
	// Command starts the plugin as a process, by an absolute path and arguments.
	Command []string
	// Name is needed with Command; it is what the plugin calls itself.
	Name string
	// Settings of the plugin, as JSON.
	Settings json.RawMessage
}

// Cluster is a control plane that runs.
type Cluster struct {
	// Config is for clients that may do everything, without a limit to their requests.
	Config *rest.Config

	core *inprocess.Core
}

// Start starts a cluster that ends with the test. It is ready when Start returns.
func Start(tb testing.TB, o Options) *Cluster {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	c, err := New(ctx, o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := c.Close(); err != nil {
			tb.Error(err)
		}
	})
	return c
}

// New is Start for where there is no test yet, such as TestMain. Close ends the cluster.
func New(ctx context.Context, o Options) (_ *Cluster, err error) {
	cfg := inprocess.CoreConfig{RBAC: o.RBAC, Controllers: o.Controllers, Logger: o.Log}
	log := cmp.Or(o.Log, slog.New(slog.DiscardHandler))
	for i, p := range o.Plugins {
		spec, err := p.spec(log)
		if err != nil {
			return nil, fmt.Errorf("cluster: plugins[%d]: %w", i, err)
		}
		cfg.Plugins = append(cfg.Plugins, spec)
		for _, point := range p.points() {
			switch point.Name {
			case protocol.PointAuthentication:
				cfg.Authenticators = append(cfg.Authenticators, spec.Name)
			case protocol.PointAuthorization:
				cfg.Authorizers = append(cfg.Authorizers, spec.Name)
			}
		}
	}
	core, err := inprocess.StartCore(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("cluster: %w", err)
	}
	c := &Cluster{Config: core.Admin, core: core}
	if err := c.InstallCRDs(ctx, o.CRDs...); err != nil {
		return nil, errors.Join(fmt.Errorf("cluster: %w", err), c.Close())
	}
	return c, nil
}

// Close ends the cluster: first its plugins, as a host ends them, then the rest. What it has
// stored is gone then.
func (c *Cluster) Close() error { return c.core.Close() }

// User is for clients that are a user in groups. With RBAC they may do what roles say, which
// have to be bound first.
func (c *Cluster) User(name string, groups ...string) *rest.Config {
	return c.core.User(name, groups...)
}

// PluginLogs are the last lines that a plugin wrote, at most 200.
func (c *Cluster) PluginLogs(name string) ([]string, error) {
	if c.core.Host == nil {
		return nil, errors.New("cluster: there are no plugins")
	}
	return c.core.Host.Logs(name, 200)
}

// RestartPlugin ends a plugin and starts it again, as an operator would, and returns when it
// is back at work.
func (c *Cluster) RestartPlugin(ctx context.Context, name string) error {
	if c.core.Host == nil {
		return errors.New("cluster: there are no plugins")
	}
	before, err := c.core.Host.Status(name)
	if err != nil {
		return err
	}
	if err := c.core.Host.Restart(name); err != nil {
		return err
	}
	if err := c.core.Host.WaitRestarted(ctx, name, before.Restarts); err != nil {
		return fmt.Errorf("cluster: %w", err)
	}
	return nil
}

// WriteKubeconfig writes a kubeconfig for programs such as kubectl.
func (c *Cluster) WriteKubeconfig(path string) error {
	type named map[string]any
	data, err := json.Marshal(map[string]any{
		"apiVersion": "v1", "kind": "Config", "current-context": "test",
		"clusters": []named{{"name": "test", "cluster": map[string]any{
			"server": c.Config.Host, "certificate-authority-data": c.Config.CAData, // bytes are base64 in JSON
		}}},
		"users":    []named{{"name": "test", "user": map[string]any{"token": c.Config.BearerToken}}},
		"contexts": []named{{"name": "test", "context": map[string]any{"cluster": "test", "user": "test"}}},
	})
	if err != nil {
		return fmt.Errorf("cluster: kubeconfig: %w", err)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		return fmt.Errorf("cluster: kubeconfig: %w", err)
	}
	return nil
}

// spec is what the host runs the plugin by.
func (p *Plugin) spec(log *slog.Logger) (host.Spec, error) {
	switch {
	case (p.Impl == nil) == (len(p.Command) == 0):
		return host.Spec{}, errors.New("exactly one of Impl and Command is needed")
	case p.Impl == nil:
		return host.Spec{Name: p.Name, Command: slices.Clone(p.Command), Settings: p.Settings}, nil
	}
	return host.Spec{
		Name: p.Impl.Info().Name, Placement: host.Served, Settings: p.Settings, Dial: p.dial(log),
	}, nil
}
