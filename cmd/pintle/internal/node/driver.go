package node

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/pintle-dev/pintle/cmd/pintle/internal/config"
	"github.com/pintle-dev/pintle/cmd/pintle/internal/firstparty"
	"github.com/pintle-dev/pintle/core/host"
	"github.com/pintle-dev/pintle/runtime/agent"
)

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
