package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/pintle-dev/pintle/cmd/pintle/internal/config"
	"github.com/pintle-dev/pintle/cmd/pintle/internal/layout"
	"github.com/pintle-dev/pintle/core/auth/pki"
	"github.com/pintle-dev/pintle/core/host"
	"github.com/pintle-dev/pintle/core/host/confine"
	"github.com/pintle-dev/pintle/plugins/network"
	"github.com/pintle-dev/pintle/plugins/serviceproxy"
	"github.com/pintle-dev/pintle/runtime/agent"
	"github.com/pintle-dev/pintle/runtime/apisocket"
	"github.com/pintle-dev/pintle/runtime/driver/containerd"
	"github.com/pintle-dev/pintle/runtime/driver/containerd/daemon"
	"github.com/pintle-dev/pintle/runtime/volume"
)

// teardownPatience is how long plugins may take to start, to remove what they made.
const teardownPatience = time.Minute

// Teardown removes all pods of this node and what the node's plugins made. It works
// whether or not an agent has been running.
func Teardown(ctx context.Context, cfg config.Config, dir layout.Dir, log *slog.Logger) error {
	errs := []error{teardownPods(ctx, cfg, dir, log)}
	for _, p := range cfg.Plugins {
		switch p.Name {
		case network.Name:
			errs = append(errs, network.Clean(ctx, p.Settings, dir.Plugin("node", network.Name)))
		case serviceproxy.Name:
			errs = append(errs, serviceproxy.Clean(ctx, p.Settings))
		}
	}
	errs = append(errs, volume.UnmountBelow(dir.Host("node")), removeGuests(dir))
	if ownContainerd(cfg.Node) {
		errs = append(errs, daemon.Stop(ctx, daemonConfig(cfg, dir, log)))
	}
	return errors.Join(errs...)
}

// removeGuests removes what a host that was killed has left of its guests' limits.
func removeGuests(dir layout.Dir) error {
	k, err := confine.New(confine.Config{Dir: dir.Host("node")})
	if err != nil {
		return err
	}
	return k.Close()
}

func teardownPods(ctx context.Context, cfg config.Config, dir layout.Dir, log *slog.Logger) error {
	return withDriver(ctx, cfg, dir, log, func(authority *pki.Authority, driver *containerd.Driver, conf agent.Config) error {
		err := teardownByPlugins(ctx, cfg, dir, authority, conf, log)
		if driver != nil {
			err = errors.Join(err, driver.Teardown(ctx, false))
		}
		return err
	})
}

// pluginsOfPods are the plugins by which alone pods can be removed: the one that runs their
// containers, and a third party's network. What Pintle's own network made is removed without it.
func pluginsOfPods(cfg config.Config) []string {
	var names []string
	if name, ok := cfg.Node.PluginDriver(); ok {
		names = append(names, name)
	}
	if name := cfg.Node.NetworkPlugin(); name != network.Name && hasNetwork(cfg.Plugins, name) {
		names = append(names, name)
	}
	return names
}

// teardownByPlugins removes the pods of a node, and starts the plugins for it that it takes.
func teardownByPlugins(ctx context.Context, cfg config.Config, dir layout.Dir, authority *pki.Authority, conf agent.Config, log *slog.Logger) error {
	names := pluginsOfPods(cfg)
	if len(names) == 0 {
		return teardownAgent(ctx, conf)
	}
	cfg.Plugins = slices.DeleteFunc(slices.Clone(withPluginDriver(cfg)), func(p config.Plugin) bool { return !slices.Contains(names, p.Name) })
	api, err := newAccess(cfg, dir, log)
	if err != nil {
		return err
	}
	socket, err := apisocket.Listen(dir.NodeAPISocket(), api.url, log)
	if err != nil {
		return err
	}
	// The servers may be gone, and what happens here is nothing to tell them.
	h, err := pluginHost(cfg, dir, conf.NodeName, nil, &identities{authority: authority, api: api, socket: socket}, log)
	if err != nil {
		return err
	}
	life, stop := context.WithCancel(ctx)
	defer stop()
	group, life := errgroup.WithContext(life)
	group.Go(func() error { return socket.Serve(life) })
	group.Go(func() error { return h.Run(life) })
	err = teardownWith(life, h, cfg, conf, log)
	stop()
	if err := errors.Join(err, group.Wait()); err != nil {
		return fmt.Errorf("remove pods by plugins %v: %w", names, err)
	}
	return nil
}

// teardownWith removes the pods by the plugins of a host that runs. Without the driver nothing can
// be removed; without the network all but what that made.
func teardownWith(ctx context.Context, h *host.Host, cfg config.Config, conf agent.Config, log *slog.Logger) error {
	patience, cancel := context.WithTimeout(ctx, teardownPatience)
	defer cancel()
	var missing error
	for _, name := range pluginsOfPods(cfg) {
		driver, ok := cfg.Node.PluginDriver()
		drives := ok && driver == name
		if _, err := h.Status(name); err != nil {
			log.Warn("what a plugin of the node made can't be removed, as it is not there any more", "plugin", name, "err", err)
			if drives {
				return nil
			}
			continue
		}
		switch err := h.WaitHealthy(patience, name); {
		case err != nil && drives:
			return err
		case err != nil:
			missing = errors.Join(missing, err)
			continue
		}
		if drives {
			if err := pluginDriver(cfg, h, &conf); err != nil {
				return err
			}
			continue
		}
		var err error
		if conf.Network, err = h.Network(name); err != nil {
			return err
		}
	}
	return errors.Join(missing, teardownAgent(ctx, conf))
}

func teardownAgent(ctx context.Context, conf agent.Config) error {
	a, err := agent.New(conf)
	if err != nil {
		return err
	}
	return a.Teardown(ctx)
}
