package controlplane

import (
	"context"
	"fmt"
	"slices"

	"github.com/pintle-dev/pintle/cmd/pintle/internal/config"
	"github.com/pintle-dev/pintle/cmd/pintle/internal/firstparty"
	"github.com/pintle-dev/pintle/cmd/pintle/internal/release"
	"github.com/pintle-dev/pintle/core/apiserver"
	"github.com/pintle-dev/pintle/core/encryption"
	"github.com/pintle-dev/pintle/core/host"
	"github.com/pintle-dev/pintle/core/store"
)

// openKeys makes the keyring, where one is configured. A key manager is started for it, before
// the store, which can't be read without, and ends with the function that is returned, behind it.
func (s *Server) openKeys(ctx context.Context) (stop func(), err error) {
	stop = func() {}
	configured := s.cfg.Store.Encryption
	if !configured.Keys.Enabled() {
		return stop, nil
	}
	cfg := encryption.Config{
		KeyFile: configured.Keys.File, Plugin: configured.Keys.Plugin,
		PreferFile: configured.Keys.WrapWith == "file", AllowMissing: configured.Keys.AllowMissing, Logger: s.log,
	}
	if cfg.Resources, err = encryption.ParseResources(configured.Resources); err != nil {
		return stop, fmt.Errorf("store.encryption.%w", err)
	}
	if cfg.Plugin != "" {
		if cfg.Manager, stop, err = s.startKeyManager(ctx, cfg.Plugin); err != nil {
			return stop, fmt.Errorf("store.encryption.keys.plugin: %w", err)
		}
	}
	if s.keys, err = encryption.New(cfg); err != nil {
		stop()
		return func() {}, fmt.Errorf("store.encryption.%w", err)
	}
	return stop, nil
}

// startKeyManager runs one plugin in a host of its own. It is given no way to the API, which is
// not there yet.
func (s *Server) startKeyManager(ctx context.Context, name string) (encryption.Wrapper, func(), error) {
	nothing := func() {}
	entry := slices.DeleteFunc(slices.Clone(s.cfg.Plugins), func(p config.Plugin) bool { return p.Name != name })
	specs, err := firstparty.Specs(entry, false)
	if err != nil {
		return nil, nothing, err
	}
	h, err := host.New(host.Config{
		Dir: s.dir.Host("keys"), Version: release.Version, Logger: s.log, Hide: s.hidden(),
		Users: firstparty.GuestUsers(s.cfg.Guests), Limits: firstparty.GuestLimits(s.cfg.Guests),
		API: func(context.Context, string) (host.Connection, func(), error) { return host.Connection{}, nil, nil },
	})
	if err != nil {
		return nil, nothing, err
	}
	for _, spec := range specs {
		if err := h.Add(spec); err != nil {
			return nil, nothing, err
		}
	}
	manager, err := h.KeyManager(name)
	if err != nil {
		return nil, nothing, err
	}
	// It outlives what stops the server: the store is closed before.
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := h.Run(ctx); err != nil {
			s.log.Error("the host of the key manager has ended", "error", err)
		}
	}()
	return manager, func() { cancel(); <-ended }, nil
}

// sealer is what the store is given; nil where nothing is encrypted.
func (s *Server) sealer() store.Sealer {
	if s.keys == nil {
		return nil
	}
	return s.keys
}

// runKeys keeps the keyring in line until ctx ends.
func (s *Server) runKeys(ctx context.Context) error {
	if s.keys == nil {
		return nil
	}
	return s.keys.Run(ctx)
}

// addEncryption shows how encryption is, to those who may, and to /readyz.
func (s *Server) addEncryption(cfg *apiserver.Config) {
	if s.keys == nil {
		cfg.Handlers[encryption.Path] = encryption.Disabled()
		cfg.Ready = append(cfg.Ready, apiserver.Check{Name: "encryption", Run: s.store.KeysReady})
		return
	}
	cfg.Handlers[encryption.Path] = s.keys.Handler()
	name := "encryption"
	if s.cfg.Store.Encryption.Keys.Plugin != "" {
		name = "kms"
	}
	cfg.Ready = append(cfg.Ready, apiserver.Check{Name: name, Run: s.keys.Ready})
}

// withoutKeyManager are the plugins of the server's own host.
func (s *Server) withoutKeyManager(plugins []config.Plugin) []config.Plugin {
	name := s.cfg.Store.Encryption.Keys.Plugin
	if name == "" {
		return plugins
	}
	return slices.DeleteFunc(slices.Clone(plugins), func(p config.Plugin) bool { return p.Name == name })
}
