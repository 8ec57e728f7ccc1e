package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/pintle-dev/pintle/sdk/plugin"
	"github.com/pintle-dev/pintle/sdk/storage"
)

var (
	//go:embed plugin.yaml
	manifest []byte
	//go:embed node.yaml
	nodeManifest []byte
	// Written by `make generate` from Settings.
	//go:embed settings.schema.json
	settingsSchema []byte
)

// driver is the storage's name in StorageClasses and PersistentVolumes.
const driver = "gizmo-name.example.dev"

// Plugin is a storage.
type Plugin struct {
	// onNode says which half it is: beside the servers volumes are made, on nodes mounted.
	onNode   bool
	settings Settings
}

var _ storage.Storage = (*Plugin)(nil)

// Settings are what an operator may set. Their defaults and limits are in the markers.
// +pintle:settings
type Settings struct {
	// Root is the directory below which volumes are: where a file system is mounted that all
	// nodes share, such as NFS. The plugin's entry has to give it, to read and write.
	// +kubebuilder:validation:Pattern=`^/`
	Root string `json:"root"`
}

// Info implements plugin.Plugin: what plugin.yaml or node.yaml says.
func (p *Plugin) Info() plugin.Info {
	if p.onNode {
		return plugin.MustInfoFrom(nodeManifest)
	}
	return plugin.MustInfoFrom(manifest)
}

// ConfigSchema implements plugin.Plugin.
func (*Plugin) ConfigSchema() []byte { return settingsSchema }

// Configure implements plugin.Plugin. The settings fit the schema.
func (p *Plugin) Configure(_ context.Context, raw []byte) error {
	if err := plugin.DecodeSettings(raw, &p.settings); err != nil {
		return err
	}
	if filepath.Clean(p.settings.Root) != p.settings.Root || p.settings.Root == "/" {
		return fmt.Errorf("settings.root: %q must be a directory for volumes alone, without . and .. in its path", p.settings.Root)
	}
	return nil
}

// Open implements storage.Storage. A storage that has to be told which node needs a volume offers an Attacher, too.
func (p *Plugin) Open(ctx context.Context, _ plugin.Env) (storage.Services, error) {
	root, err := os.OpenRoot(p.settings.Root)
	if err != nil {
		return storage.Services{}, fmt.Errorf("settings.root: %w", err)
	}
	context.AfterFunc(ctx, func() { _ = root.Close() })
	v := &volumes{root: root}
	if !p.onNode {
		return storage.Services{Driver: driver, Provisioner: v, Expander: v}, nil
	}
	return storage.Services{Driver: driver, Mounter: v, StatsReader: v}, nil
}

var errName = errors.New("a volume's handle is the name of a directory")
