package firstparty

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"

	"github.com/pintle-dev/pintle/cmd/pintle/internal/config"
	"github.com/pintle-dev/pintle/core/host"
)

// PublishRootCA makes the workloads plugin publish the cluster's CA to every namespace,
// unless its settings name another: on the unix socket it does not see one.
func PublishRootCA(plugins []config.Plugin, pem []byte) ([]config.Plugin, error) {
	out := slices.Clone(plugins)
	for i, p := range out {
		if p.Name != "workloads" || p.ThirdParty() {
			continue
		}
		var settings map[string]any
		if len(p.Settings) > 0 {
			if err := json.Unmarshal(p.Settings, &settings); err != nil {
				return nil, fmt.Errorf("plugins[%d].settings: %w", i, err)
			}
		}
		if settings == nil {
			settings = map[string]any{}
		}
		if settings["rootCA"] != nil {
			continue
		}
		settings["rootCA"] = string(pem)
		raw, err := json.Marshal(settings)
		if err != nil {
			return nil, fmt.Errorf("plugins[%d].settings: %w", i, err)
		}
		out[i].Settings = raw
	}
	return out, nil
}

// Own is the entry of a first-party plugin that a Plugin object names.
func Own(name string, placement host.Placement) (host.Spec, error) {
	specs, err := Specs([]config.Plugin{{Name: name, Placement: string(placement)}}, NodeScoped(name))
	if err != nil {
		return host.Spec{}, fmt.Errorf("spec.source: is required: there is no first-party plugin %q, but %v", name, Names())
	}
	return specs[0], nil
}

// Specs turns the configuration's plugins into a host's catalogue: those that run on
// nodes, or those that run beside the server.
func Specs(plugins []config.Plugin, nodeScoped bool) ([]host.Spec, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("finding this executable: %w", err)
	}
	var specs []host.Spec
	for i, p := range plugins {
		onNodes := p.NodeScoped
		if !p.ThirdParty() {
			onNodes = NodeScoped(p.Name)
		}
		if onNodes != nodeScoped {
			continue
		}
		if p.Directory != "" || p.OCI != "" {
			spec := p.Spec()
			s, err := spec.Entry(Own)
			if err != nil {
				return nil, fmt.Errorf("plugins[%d]: %w", i, err)
			}
			s.MemoryLimit = int64(p.MemoryLimit)
			specs = append(specs, s)
			continue
		}
		s := host.Spec{
			Name: p.Name, Path: p.Path, Args: p.Args, SHA256: p.SHA256,
			Placement: host.Placement(p.Placement), Settings: p.Settings,
			Grant: p.Grant, Permissions: p.Permissions, Env: p.Env,
			MemoryLimit: int64(p.MemoryLimit), Network: p.Network, Disabled: p.Disabled, NodeScoped: nodeScoped,
			Files: p.Files, Privileges: p.Privileges,
		}
		completed, err := (&host.PluginSpec{Plugin: p.Name, Limits: p.Limits, Replacement: p.Replacement, Admission: p.Admission}).Entry(
			func(string, host.Placement) (host.Spec, error) { return s, nil })
		if err != nil {
			return nil, fmt.Errorf("plugins[%d]: %w", i, err)
		}
		s.Limits, s.Replacement, s.Admission = completed.Limits, completed.Replacement, completed.Admission
		if p.Path == "" {
			s.Uses = catalogue()[p.Name].uses
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
