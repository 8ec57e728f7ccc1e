package host

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/pintle-dev/pintle/sdk/kms"
	"github.com/pintle-dev/pintle/sdk/plugin"
	"github.com/pintle-dev/pintle/sdk/protocol"
	"github.com/pintle-dev/pintle/sdk/remote"
)

// keyManagerProxy is a key manager whose plugin may come and go.
type keyManagerProxy struct {
	supervisor *supervisor

	mu      sync.Mutex
	current kms.KeyManager // nil where the plugin is away
	changed chan struct{}
}

var _ kms.KeyManager = (*keyManagerProxy)(nil)

func newKeyManagerProxy(s *supervisor) *keyManagerProxy {
	return &keyManagerProxy{supervisor: s, changed: make(chan struct{})}
}

// KeyManager returns the named plugin as a key manager. The value stays valid when the plugin
// restarts: calls wait for it to be back, for as long as their context lets them.
func (h *Host) KeyManager(name string) (kms.KeyManager, error) {
	s, err := h.plugin(name)
	if err != nil {
		return nil, err
	}
	if s.spec.Disabled {
		return nil, fmt.Errorf("plugin %q is disabled by its configuration", name)
	}
	return s.keys, nil
}

// Info implements plugin.Plugin.
func (k *keyManagerProxy) Info() plugin.Info {
	st := k.supervisor.snapshot()
	return plugin.Info{Name: st.Name, Version: st.Version, Description: st.Description, Permissions: st.Requested}
}

// ConfigSchema implements plugin.Plugin; settings are the host's affair.
func (k *keyManagerProxy) ConfigSchema() []byte { return nil }

// Configure implements plugin.Plugin.
func (k *keyManagerProxy) Configure(context.Context, []byte) error {
	return fmt.Errorf("plugin %s is configured by its host", k.supervisor.spec.Name)
}

func (k *keyManagerProxy) attach(_ context.Context, g *guest, _ chan<- error) error {
	m, ok := as(g, (*remote.Client).KeyManager)
	if !ok {
		return fmt.Errorf("it offers point %q and is no key manager", protocol.PointKeyManager)
	}
	k.set(m)
	return nil
}

// leave implements leaver.
func (k *keyManagerProxy) leave(bool) { k.detach() }

func (k *keyManagerProxy) detach() { k.set(nil) }

func (k *keyManagerProxy) set(m kms.KeyManager) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.current = m
	close(k.changed)
	k.changed = make(chan struct{})
}

// wait returns the plugin as it runs now. What is no key manager, or was refused, is not
// waited for.
func (k *keyManagerProxy) wait(ctx context.Context) (kms.KeyManager, error) {
	for {
		k.mu.Lock()
		current, changed := k.current, k.changed
		k.mu.Unlock()
		if current != nil {
			return current, nil
		}
		st, moved := k.supervisor.watch()
		switch {
		case st.Health == HealthHealthy && !slices.Contains(st.Points, protocol.PointKeyManager):
			return nil, fmt.Errorf("plugin %s is no key manager: it offers %v", st.Name, st.Points)
		case st.Health == HealthRefused:
			return nil, fmt.Errorf("key manager %s is %s: %s", st.Name, st.Health, st.Reason)
		}
		select {
		case <-changed:
		case <-moved:
		case <-ctx.Done():
			return nil, fmt.Errorf("key manager %s is %s: %s: %w", st.Name, st.Health, st.Reason, ctx.Err())
		}
	}
}

// Status implements kms.KeyManager.
func (k *keyManagerProxy) Status(ctx context.Context) (kms.Status, error) {
	m, err := k.wait(ctx)
	if err != nil {
		return kms.Status{}, err
	}
	st, err := m.Status(ctx)
	return st, k.named(err)
}

// Wrap implements kms.KeyManager.
func (k *keyManagerProxy) Wrap(ctx context.Context, key []byte) (kms.Wrapped, error) {
	m, err := k.wait(ctx)
	if err != nil {
		return kms.Wrapped{}, err
	}
	w, err := m.Wrap(ctx, key)
	return w, k.named(err)
}

// Unwrap implements kms.KeyManager.
func (k *keyManagerProxy) Unwrap(ctx context.Context, w kms.Wrapped) ([]byte, error) {
	m, err := k.wait(ctx)
	if err != nil {
		return nil, err
	}
	key, err := m.Unwrap(ctx, w)
	return key, k.named(err)
}

func (k *keyManagerProxy) named(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("key manager %s: %w", k.supervisor.spec.Name, err)
}
