// Package pluginsource makes the catalogue of plugins that a configuration speaks of, in the
// same way for servers, agents and commands. It knows neither hosts nor clusters.
package pluginsource

import (
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/pintle-dev/pintle/cmd/pintle/internal/config"
	"github.com/pintle-dev/pintle/cmd/pintle/internal/layout"
	"github.com/pintle-dev/pintle/core/catalogue"
)

// New makes the catalogue of a data directory. inUse lists the SHA-256 sums of binaries that are
// kept in its cache whatever their age; nil keeps all that this process has fetched.
func New(trust config.PluginTrust, dir layout.Dir, inUse func() []string, log *slog.Logger) (*catalogue.Catalogue, error) {
	keys, err := Keys(trust)
	if err != nil {
		return nil, err
	}
	return catalogue.New(catalogue.Config{
		Dir: dir.Catalogue(), Keys: keys, Access: Access(trust), Mirror: trust.Mirror, Offline: trust.Offline,
		CacheBytes: int64(trust.CacheSize), CacheAge: time.Duration(trust.CacheAge), InUse: inUse, Logger: log,
	})
}

// Access says how registries are reached.
func Access(trust config.PluginTrust) catalogue.Access {
	return catalogue.Access{Credentials: trust.Credentials, PlainHTTP: trust.InsecureRegistries}
}

// Keys reads the keys that are trusted.
func Keys(trust config.PluginTrust) ([]catalogue.Key, error) {
	var keys []catalogue.Key
	for i, k := range trust.Keys {
		pem := []byte(k.Inline)
		if k.File != "" {
			var err error
			if pem, err = os.ReadFile(k.File); err != nil {
				return nil, fmt.Errorf("pluginTrust.keys[%d].file: %w", i, err)
			}
		}
		if err := catalogue.CheckKey(pem); err != nil {
			return nil, fmt.Errorf("pluginTrust.keys[%d]: %q %w", i, k.Name, err)
		}
		keys = append(keys, catalogue.Key{Name: k.Name, PEM: pem})
	}
	return keys, nil
}
