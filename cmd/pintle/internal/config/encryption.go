package config

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/pintle-dev/pintle/core/encryption"
)

// Encryption keeps objects from being read in the data directory, in backups and on the way to
// other servers. It is off without keys, and must be the same on all servers of a cluster.
type Encryption struct {
	// Resources are the types that are encrypted: secrets, configmaps, widgets.example.dev,
	// *.example.dev, *. (the core group) or *.* (all). What is there already is encrypted, or
	// where a type is taken away decrypted, while the cluster runs.
	Resources []string `json:"resources"`
	// Keys wrap the data keys that encrypt.
	Keys EncryptionKeys `json:"keys"`
}

// EncryptionKeys says where the keys are that wrap data keys.
type EncryptionKeys struct {
	// File has keys, the first of which wraps while all unwrap; pintle encryption key makes it.
	// Only its owner may have rights to it. Changes take effect at once.
	File string `json:"file"`
	// Plugin is the name of an entry in plugins that is a key manager.
	Plugin string `json:"plugin"`
	// WrapWith is "file" or "plugin" where both are given, in order to move from one to the
	// other: the other one only unwraps. Default plugin.
	WrapWith string `json:"wrapWith"`
	// AllowMissing lets a server start where keys are lost: what they have encrypted can't be
	// read any more, only overwritten and deleted. Without it such a server does not start.
	AllowMissing bool `json:"allowMissing"`
}

// Enabled says whether there are keys.
func (k EncryptionKeys) Enabled() bool { return k.File != "" || k.Plugin != "" }

// resolve makes the path of the file absolute that is relative to the configuration file.
func (e *Encryption) resolve(base string) error {
	if e.Keys.File == "" || filepath.IsAbs(e.Keys.File) {
		return nil
	}
	abs, err := filepath.Abs(filepath.Join(base, e.Keys.File))
	if err != nil {
		return fmt.Errorf("store.encryption.keys.file: %w", err)
	}
	e.Keys.File = abs
	return nil
}

func (e *Encryption) validate(plugins []Plugin) error {
	if _, err := encryption.ParseResources(e.Resources); err != nil {
		return fmt.Errorf("store.encryption.%w", err)
	}
	k := e.Keys
	switch {
	case len(e.Resources) > 0 && !k.Enabled():
		return errors.New("store.encryption.keys: a file or a plugin is required where resources are encrypted")
	case k.WrapWith != "" && k.WrapWith != "file" && k.WrapWith != "plugin":
		return fmt.Errorf("store.encryption.keys.wrapWith: %q is neither file nor plugin", k.WrapWith)
	case k.WrapWith == "file" && k.File == "" || k.WrapWith == "plugin" && k.Plugin == "":
		return fmt.Errorf("store.encryption.keys.%s: is required where wrapWith names it", k.WrapWith)
	case k.Plugin == "":
		return nil
	}
	for _, p := range plugins {
		if p.Name != k.Plugin {
			continue
		}
		if p.Disabled {
			return fmt.Errorf("store.encryption.keys.plugin: %q is disabled in plugins", k.Plugin)
		}
		return nil
	}
	return fmt.Errorf("store.encryption.keys.plugin: %q is not an entry of plugins", k.Plugin)
}
