package config

import (
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"

	"github.com/pintle-dev/pintle/core/catalogue"
)

// PluginTrust says where plugins may come from, and whose signatures make them ours. It must be
// the same on all servers and agents of a cluster.
type PluginTrust struct {
	// Keys are the public keys whose signatures are trusted. Without any, only entries with
	// allowUnsigned take plugins from directories and registries.
	Keys []PluginKey `json:"keys"`
	// Credentials for registries: a file in the format of Docker's config.json, of which "auths"
	// is read. Credential helpers are not run.
	Credentials string `json:"credentials"`
	// Mirror is a directory, filled by pintle plugin pull --mirror, that is asked before any
	// registry.
	Mirror string `json:"mirror"`
	// Offline asks no registry at all.
	Offline bool `json:"offline"`
	// InsecureRegistries ("host" or "host:port") are reached without TLS, beside those on
	// loopback.
	InsecureRegistries []string `json:"insecureRegistries"`
	// CacheSize and CacheAge bound what is kept of plugins that nobody uses any more; 0: 2 GiB,
	// and 30 days.
	CacheSize Bytes    `json:"cacheSize"`
	CacheAge  Duration `json:"cacheAge"`
}

// PluginKey is a public key in PEM, as pintle plugin keygen and cosign generate-key-pair write
// it: in a file, or inline.
type PluginKey struct {
	// Name is shown as who signed.
	Name   string `json:"name"`
	File   string `json:"file"`
	Inline string `json:"inline"`
}

// resolve makes paths absolute that are relative to the configuration file.
func (t *PluginTrust) resolve(base string) error {
	paths := map[string]*string{"credentials": &t.Credentials, "mirror": &t.Mirror}
	for i := range t.Keys {
		paths[fmt.Sprintf("keys[%d].file", i)] = &t.Keys[i].File
	}
	for key, p := range paths {
		if *p == "" || filepath.IsAbs(*p) {
			continue
		}
		abs, err := filepath.Abs(filepath.Join(base, *p))
		if err != nil {
			return fmt.Errorf("pluginTrust.%s: %w", key, err)
		}
		*p = abs
	}
	return nil
}

func (t *PluginTrust) validate() error {
	seen := map[string]int{}
	for i, k := range t.Keys {
		at := fmt.Sprintf("pluginTrust.keys[%d]", i)
		if k.Name == "" {
			return fmt.Errorf("%s.name: is required: it is shown as who signed", at)
		}
		if first, ok := seen[k.Name]; ok {
			return fmt.Errorf("%s.name: %q is taken by pluginTrust.keys[%d]", at, k.Name, first)
		}
		seen[k.Name] = i
		if (k.File == "") == (k.Inline == "") {
			return fmt.Errorf("%s: exactly one of file and inline is required", at)
		}
		if k.Inline == "" {
			continue
		}
		if err := catalogue.CheckKey([]byte(k.Inline)); err != nil {
			return fmt.Errorf("%s.inline: %w", at, err)
		}
	}
	for i, r := range t.InsecureRegistries {
		if strings.Contains(r, "/") || r == "" {
			return fmt.Errorf("pluginTrust.insecureRegistries[%d]: %q is not a registry such as registry.example.com:5000", i, r)
		}
		if _, port, err := net.SplitHostPort(r); err == nil && port == "" {
			return fmt.Errorf("pluginTrust.insecureRegistries[%d]: %q has no port after its colon", i, r)
		}
	}
	if t.CacheAge < 0 {
		return errors.New("pluginTrust.cacheAge: is negative")
	}
	return nil
}
