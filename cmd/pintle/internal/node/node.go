package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/rest"

	"github.com/pintle-dev/pintle/cmd/pintle/internal/config"
	"github.com/pintle-dev/pintle/cmd/pintle/internal/controlplane"
	"github.com/pintle-dev/pintle/cmd/pintle/internal/firstparty"
	"github.com/pintle-dev/pintle/cmd/pintle/internal/layout"
	"github.com/pintle-dev/pintle/cmd/pintle/internal/pluginsource"
	"github.com/pintle-dev/pintle/cmd/pintle/internal/release"
	"github.com/pintle-dev/pintle/core/auth/pki"
	"github.com/pintle-dev/pintle/core/host"
	"github.com/pintle-dev/pintle/runtime/agent"
	"github.com/pintle-dev/pintle/runtime/apisocket"
	"github.com/pintle-dev/pintle/runtime/driver/containerd"
	"github.com/pintle-dev/pintle/runtime/driver/containerd/daemon"
	"github.com/pintle-dev/pintle/sdk/runtimedriver"
)

// Run runs the agent until ctx ends; pods go on.
func Run(ctx context.Context, cfg config.Config, dir layout.Dir, log *slog.Logger) error {
	return withDriver(ctx, cfg, dir, log, func(authority *pki.Authority, _ *containerd.Driver, conf agent.Config) error {
		return run(ctx, cfg, dir, authority, conf, log)
	})
}

// withDriver calls f with containerd opened and the agent's configuration but for the
// network.
func withDriver(ctx context.Context, cfg config.Config, dir layout.Dir, log *slog.Logger,
	f func(*pki.Authority, *containerd.Driver, agent.Config) error,
) (err error) {
	authority, err := pki.Open(pki.Config{Dir: dir.PKI(), Logger: log})
	if err != nil {
		return err
	}
	if _, ok := cfg.Node.PluginDriver(); ok {
		conf, err := agentConfig(cfg, dir, authority, nil, log)
		if err != nil {
			return err
		}
		return f(authority, nil, conf) // its plugin's host has it
	}
	driver, err := OpenDriver(ctx, cfg, dir, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, driver.Close()) }()
	conf, err := agentConfig(cfg, dir, authority, driver, log)
	if err != nil {
		return err
	}
	return f(authority, driver, conf)
}

func run(ctx context.Context, cfg config.Config, dir layout.Dir, authority *pki.Authority, conf agent.Config, log *slog.Logger) error {
	api, err := newAccess(cfg, dir, log)
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	api.apply(conf.Client)
	if err := api.run(ctx, group, conf.Client); err != nil {
		return err
	}
	if ownContainerd(cfg.Node) {
		group.Go(func() error { daemon.Keep(ctx, daemonConfig(cfg, dir, log)); return nil })
	}
	socket, err := apisocket.Listen(dir.NodeAPISocket(), api.url, log)
	if err != nil {
		return err
	}
	group.Go(func() error { return socket.Serve(ctx) })
	ids := &identities{authority: authority, api: api, socket: socket}
	client, err := hostClient(cfg, conf.NodeName, ids)
	if err != nil {
		return err
	}
	h, err := pluginHost(cfg, dir, conf.NodeName, client, ids, log)
	if err != nil {
		return err
	}
	if err := pluginDriver(cfg, h, &conf); err != nil {
		return err
	}
	if name := cfg.Node.NetworkPlugin(); hasNetwork(cfg.Plugins, name) {
		if conf.Network, err = h.Network(name); err != nil {
			return err
		}
	}
	conf.Storages, conf.Plugins = storages{h}, pluginLogs(h)
	group.Go(func() error { return h.Run(ctx) })
	a, err := agent.New(conf)
	if err != nil {
		return err
	}
	group.Go(func() error {
		err := a.Run(ctx)
		if errors.Is(err, syscall.EADDRINUSE) {
			err = fmt.Errorf("node.listen: another process, maybe of another cluster on this machine, has %s: %w", cfg.Node.Listen, err)
		}
		return err
	})
	return group.Wait()
}

// agentConfig is the agent's configuration but for the network.
func agentConfig(cfg config.Config, dir layout.Dir, authority *pki.Authority, driver runtimedriver.Driver, log *slog.Logger) (agent.Config, error) {
	name, err := Name(cfg.Node)
	if err != nil {
		return agent.Config{}, err
	}
	ip := address(cfg.Node)
	own, err := authority.Node(name)
	if err != nil {
		return agent.Config{}, err
	}
	serving, err := authority.NodeServing(name, name, ip, "127.0.0.1")
	if err != nil {
		return agent.Config{}, err
	}
	servingCert := serving.TLS()
	return agent.Config{
		NodeName: name, NodeIP: ip, Client: restConfig(cfg.API.URL(), authority, own),
		Driver: driver, Dir: dir.Node(), CgroupRoot: "/pintle-" + dir.ID(),
		ListenAddress: cfg.Node.Listen, ServingCert: &servingCert, ClientCA: authority.Pool(),
		Labels: cfg.Node.Labels, ExternalCloud: cfg.Node.ExternalCloud, ClusterDNS: cfg.Node.ClusterDNS, ClusterDomain: cfg.API.ClusterDomain,
		Version: release.Info().GitVersion, Logger: log,
	}, nil
}

// OpenDriver connects to the node's containerd, starting the agent's own where the
// configuration names none.
func OpenDriver(ctx context.Context, cfg config.Config, dir layout.Dir, log *slog.Logger) (*containerd.Driver, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("finding this executable: %w", err)
	}
	conf := containerd.Config{
		Address: cfg.Node.Containerd.Address, Dir: dir.Node(), Snapshotter: cfg.Node.Containerd.Snapshotter,
		Pause: []string{self, "pause"}, PlainHTTP: cfg.Node.PlainHTTPRegistries, Logger: log,
	}
	if conf.Address == "" {
		d, err := daemon.Ensure(ctx, daemonConfig(cfg, dir, log))
		if err != nil {
			return nil, err
		}
		conf.Address, conf.RuncRoot = d.Address, d.RuncRoot
	}
	return containerd.New(ctx, conf)
}

func daemonConfig(cfg config.Config, dir layout.Dir, log *slog.Logger) daemon.Config {
	return daemon.Config{Dir: dir.Containerd(), Binary: cfg.Node.Containerd.Binary, Logger: log}
}

func hasNetwork(plugins []config.Plugin, name string) bool {
	return slices.ContainsFunc(plugins, func(p config.Plugin) bool { return p.Name == name && !p.Disabled })
}

// hostClient is the way of the node's plugin host to the API.
func hostClient(cfg config.Config, name string, ids *identities) (*rest.Config, error) {
	own, err := ids.authority.Client("plugin-host-"+name, controlplane.PluginHostUser(name), controlplane.PluginHostsGroup)
	if err != nil {
		return nil, err
	}
	client := restConfig(cfg.API.URL(), ids.authority, own)
	ids.api.apply(client)
	return client, nil
}

// pluginHost runs the node's plugins. The permissions of each are the server's to grant. client is
// nil where nobody is told of them.
func pluginHost(cfg config.Config, dir layout.Dir, name string, client *rest.Config, ids *identities, log *slog.Logger) (*host.Host, error) {
	var h *host.Host
	fetcher, err := pluginsource.New(cfg.PluginTrust, dir, func() []string { return h.InUse() }, log)
	if err != nil {
		return nil, err
	}
	h, err = host.New(host.Config{
		Fetcher: fetcher, Own: firstparty.Own,
		Dir: dir.Host("node"), Hide: []string{string(dir), dir.Run()},
		Users: firstparty.GuestUsers(cfg.Guests), Limits: firstparty.GuestLimits(cfg.Guests), Node: name, Version: release.Version, Logger: log, Client: client,
		API: func(_ context.Context, plugin string) (host.Connection, func(), error) {
			return ids.of(plugin, h.IsGuest(plugin))
		},
	})
	if err != nil {
		return nil, err
	}
	specs, err := firstparty.Specs(withPluginDriver(cfg), true)
	if err != nil {
		return nil, err
	}
	for _, s := range specs {
		if err := h.Add(s); err != nil {
			return nil, err
		}
	}
	h.Recall()
	return h, nil
}

func restConfig(server string, authority *pki.Authority, pair pki.Pair) *rest.Config {
	return &rest.Config{
		Host: server, QPS: 200, Burst: 400, Timeout: 0,
		TLSClientConfig: rest.TLSClientConfig{CAData: authority.CAPEM(), CertData: pair.CertPEM, KeyData: pair.KeyPEM},
	}
}

// Name of the node that a configuration makes.
func Name(n config.Node) (string, error) {
	if n.Name != "" {
		return n.Name, nil
	}
	name, err := os.Hostname()
	if err != nil {
		return "", fmt.Errorf("node.name is not set and the host has no name: %w", err)
	}
	return strings.ToLower(name), nil
}

// address of the node.
func address(n config.Node) string {
	if n.IP != "" {
		return n.IP
	}
	return config.OutboundIP()
}
