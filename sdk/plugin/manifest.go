package plugin

import (
	"fmt"

	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/yaml"
)

// InfoFrom reads a plugin's Info from the text of its plugin.yaml, which authors embed, so that
// what an operator reads before the plugin is run is what the plugin says when it runs.
//
//	//go:embed plugin.yaml
//	var manifest []byte
//
//	func (*Widget) Info() plugin.Info { return plugin.MustInfoFrom(manifest) }
//
// Only what Info needs is looked at; `pintle plugin verify`, and hosts, check the whole.
func InfoFrom(manifest []byte) (Info, error) {
	var m struct {
		Name        string              `json:"name"`
		Version     string              `json:"version"`
		Description string              `json:"description"`
		Permissions []rbacv1.PolicyRule `json:"permissions"`
	}
	if err := yaml.Unmarshal(manifest, &m); err != nil {
		return Info{}, fmt.Errorf("plugin.yaml: %w", err)
	}
	if m.Name == "" || m.Version == "" {
		return Info{}, fmt.Errorf("plugin.yaml: name and version are needed; there are %q and %q", m.Name, m.Version)
	}
	return Info{Name: m.Name, Version: m.Version, Description: m.Description, Permissions: m.Permissions}, nil
}

// MustInfoFrom is InfoFrom for an embedded text, which is right or a mistake of the author. It
// panics then.
func MustInfoFrom(manifest []byte) Info {
	info, err := InfoFrom(manifest)
	if err != nil {
		panic(err)
	}
	return info
}
