package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/pintle-dev/pintle/cmd/pintle/internal/config"
	"github.com/pintle-dev/pintle/cmd/pintle/internal/firstparty"
	"github.com/pintle-dev/pintle/cmd/pintle/internal/layout"
	"github.com/pintle-dev/pintle/core/auth/pki"
	"github.com/pintle-dev/pintle/core/host"
	"github.com/pintle-dev/pintle/runtime/agent"
	"github.com/pintle-dev/pintle/runtime/apisocket"
)

// teardownPatience is how long a driver's plugin may take to start, to remove what it runs.
const teardownPatience = time.Minute

// ownContainerd reports whether the agent runs a containerd of its own.
func ownContainerd(n config.Node) bool {
	_, plugin := n.PluginDriver()
	return !plugin && n.Containerd.Address == ""
}

// withPluginDriver is the configuration's plugins, with the driver among them: one of Pintle's own
// needs no entry there.
func withPluginDriver(cfg config.Config) []config.Plugin {
	name, ok := cfg.Node.PluginDriver()
	if !ok || !firstparty.Known(name) || slices.ContainsFunc(cfg.Plugins, func(p config.Plugin) bool { return p.Name == name }) {
		return cfg.Plugins
	}
	return append(slices.Clone(cfg.Plugins), config.Plugin{Name: name})
}

// pluginDriver has the agent's containers run by a plugin of its host, where the configuration
// says so. The directory of logs is there before the plugin is started, which may be given it.
func pluginDriver(cfg config.Config, h *host.Host, conf *agent.Config) error {
	name, ok := cfg.Node.PluginDriver()
	if !ok {
		return nil
	}
	logs := filepath.Join(conf.Dir, "logs")
	if err := os.MkdirAll(logs, 0o755); err != nil {
		return fmt.Errorf("directory of logs: %w", err)
	}
	conf.Driver = h.RuntimeDriver(name, logs)
	return nil
}

// teardownByPlugin removes the pods of a node through the plugin that runs them, which is started
// for it.
func teardownByPlugin(ctx context.Context, cfg config.Config, dir layout.Dir, authority *pki.Authority, conf agent.Config, log *slog.Logger) error {
	name, _ := cfg.Node.PluginDriver()
	cfg.Plugins = slices.DeleteFunc(slices.Clone(withPluginDriver(cfg)), func(p config.Plugin) bool { return p.Name != name })
	api, err := newAccess(cfg, dir, log)
	if err != nil {
		return err
	}
	socket, err := apisocket.Listen(dir.NodeAPISocket(), api.url, log)
	if err != nil {
		return err
	}
	h, err := pluginHost(cfg, dir, conf.NodeName, &identities{authority: authority, api: api, socket: socket}, log)
	if err != nil {
		return err
	}
	if err := pluginDriver(cfg, h, &conf); err != nil {
		return err
	}
	if _, err := h.Status(name); err != nil {
		log.Warn("node.driver: what the plugin runs can't be removed, as it is not there any more", "plugin", name, "err", err)
		return nil
	}
	a, err := agent.New(conf)
	if err != nil {
		return err
	}
	life, stop := context.WithCancel(ctx)
	defer stop()
	group, life := errgroup.WithContext(life)
	group.Go(func() error { return socket.Serve(life) })
	group.Go(func() error { return h.Run(life) })
	patience, cancel := context.WithTimeout(life, teardownPatience)
	defer cancel()
	err = h.WaitHealthy(patience, name)
	if err == nil {
		err = a.Teardown(life)
	}
	stop()
	if err := errors.Join(err, group.Wait()); err != nil {
		return fmt.Errorf("remove what plugin %s runs: %w", name, err)
	}
	return nil
}
