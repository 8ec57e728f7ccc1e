package config

import (
	"fmt"
	"path/filepath"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/pintle-dev/pintle/core/host"
)

// Origin is where a third party's plugin comes from, and how it is kept; the keys are those of
// the spec of a Plugin object.
type Origin struct {
	// Directory holds plugin.yaml and the binary; absolute or relative to the configuration
	// file.
	Directory string `json:"directory"`
	// OCI is a reference to an artifact in a registry.
	OCI string `json:"oci"`
	// Version is a constraint such as ">=1.2, <2".
	Version string `json:"version"`
	// AllowUnsigned accepts it without a signature.
	AllowUnsigned bool `json:"allowUnsigned"`
	// NodeScoped runs it on each node that has the entry in its configuration, and not beside
	// the servers. Theirs must have the entry too: they grant its permissions.
	NodeScoped bool `json:"nodeScoped"`
	// Files and Privileges of the machine that it is given.
	Files      []host.PluginFile      `json:"files,omitempty"`
	Privileges []host.PluginPrivilege `json:"privileges,omitempty"`
	// Limits of all its processes together.
	Limits *host.PluginLimits `json:"limits,omitempty"`
	// Replacement is how a new version takes the place of the old.
	Replacement *host.PluginReplacement `json:"replacement,omitempty"`
	// Admission overrides what an admission plugin declares of itself.
	Admission *host.PluginAdmission `json:"admission,omitempty"`
}

// ThirdParty reports whether the entry is for a plugin that is not part of Pintle.
func (p *Plugin) ThirdParty() bool { return p.Path != "" || p.Directory != "" || p.OCI != "" }

// Spec is the entry as the spec of a Plugin object.
func (p *Plugin) Spec() host.PluginSpec {
	s := host.PluginSpec{
		Plugin: p.Name, Version: p.Version, AllowUnsigned: p.AllowUnsigned, Placement: host.Placement(p.Placement),
		Args: p.Args, Env: p.Env, Settings: p.Settings, Limits: p.Limits, Network: p.Network,
		Files: p.Files, Privileges: p.Privileges, Replacement: p.Replacement, Admission: p.Admission, Disabled: p.Disabled, SHA256: p.SHA256,
		NodeScoped: p.NodeScoped,
	}
	if p.ThirdParty() {
		s.Source = &host.PluginSource{Path: p.Path, Directory: p.Directory, OCI: p.OCI}
	}
	if p.Grant || len(p.Permissions) > 0 {
		s.Permissions = &host.PluginPermissions{Rules: p.Permissions}
		if p.Grant {
			s.Permissions = &host.PluginPermissions{Grant: host.GrantRequested}
		}
	}
	return s
}

// validate says what is wrong with an entry, by its keys.
func (p *Plugin) validate(at string) error {
	s := p.Spec()
	if !p.ThirdParty() {
		s.SHA256 = "" // of no use, and always allowed
	}
	errs := s.Validate(field.NewPath(at))
	if p.NodeScoped && !p.ThirdParty() {
		errs = append(errs, field.Forbidden(field.NewPath(at, "nodeScoped"), "is for plugins of third parties: Pintle's own know where they run"))
	}
	if len(errs) == 0 {
		return nil
	}
	return fmt.Errorf("%s: %s", errs[0].Field, errs[0].ErrorBody())
}

// resolve makes the directory absolute.
func (p *Plugin) resolve(at, base string) error {
	if p.Directory == "" || filepath.IsAbs(p.Directory) {
		return nil
	}
	abs, err := filepath.Abs(filepath.Join(base, p.Directory))
	if err != nil {
		return fmt.Errorf("%s.directory: %w", at, err)
	}
	p.Directory = abs
	return nil
}
