package firstparty

import (
	"fmt"
	"os"

	"github.com/pintle-dev/pintle/cmd/pintle/internal/config"
	"github.com/pintle-dev/pintle/core/host"
)

// Specs turns the configuration's plugins into a host's catalogue: those that run on
// nodes, or those that run beside the server. Third parties' plugins run beside the
// server.
func Specs(plugins []config.Plugin, nodeScoped bool) ([]host.Spec, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("finding this executable: %w", err)
	}
	var specs []host.Spec
	for i, p := range plugins {
		if NodeScoped(p.Name) != nodeScoped {
			continue
		}
		s := host.Spec{
			Name: p.Name, Path: p.Path, Args: p.Args, SHA256: p.SHA256,
			Placement: host.Placement(p.Placement), Settings: p.Settings,
			Grant: p.Grant, Permissions: p.Permissions, Env: p.Env,
			MemoryLimit: int64(p.MemoryLimit), Disabled: p.Disabled, NodeScoped: nodeScoped,
		}
		if p.Path == "" {
			impl, err := New(p.Name)
			if err != nil {
				return nil, fmt.Errorf("plugins[%d]: %w; a third party's plugin needs a path", i, err)
			}
			if s.Placement == host.Builtin {
				s.Builtin = impl
			} else {
				s.Command = []string{self, "plugin", "serve", p.Name}
			}
		}
		specs = append(specs, s)
	}
	return specs, nil
}
