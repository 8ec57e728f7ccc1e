package host

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/pintle-dev/pintle/sdk/protocol"
	"github.com/pintle-dev/pintle/sdk/storage"
)

// storageHolder keeps a storage open, with the plugin's own identity, for as long as its session
// lasts. Plugins ask it through the relay, a node's agent by Host.Storage.
type storageHolder struct {
	supervisor *supervisor
	open       openings[storage.Services]

	mu  sync.Mutex
	now storage.Services // zero while the plugin is away
	// last is the name of what it offered when it was last there.
	last string
}

func newStorageHolder(s *supervisor) *storageHolder { return &storageHolder{supervisor: s} }

func (h *storageHolder) attach(ctx context.Context, g *guest, failed chan<- error) error {
	if g.client == nil {
		return errors.New("a storage runs as a process: use placement process")
	}
	p, ok := g.client.Storage()
	if !ok {
		return fmt.Errorf("it does not offer point %q", protocol.PointStorage)
	}
	services, err := h.open.attach(ctx, g, h.supervisor.host.config.CallTimeout, failed, p.Open)
	if err != nil {
		return fmt.Errorf("storage: %w", err)
	}
	h.mu.Lock()
	h.now, h.last = services, services.Driver
	h.mu.Unlock()
	h.supervisor.log.Info("a storage is open", "driver", services.Driver,
		"provisioner", services.Provisioner != nil, "expander", services.Expander != nil,
		"attacher", services.Attacher != nil, "mounter", services.Mounter != nil)
	return nil
}

func (h *storageHolder) detach() {
	h.mu.Lock()
	h.now = storage.Services{}
	h.mu.Unlock()
	h.open.detach()
}

// is returns what is open, and the name of what was last.
func (h *storageHolder) is() (now storage.Services, last string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.now, h.last
}

// Storage returns the storage of that name, spec.csi.driver of PersistentVolumes, as the plugin
// that is it runs now. It is to be asked for before each call: what was returned before a restart
// of the plugin is of no use after it. Its error says why there is none.
func (h *Host) Storage(driver string) (storage.Services, error) {
	h.mu.Lock()
	plugins := h.sorted()
	h.mu.Unlock()
	var have []string
	for _, s := range plugins {
		holder, ok := s.holders[protocol.PointStorage].(*storageHolder)
		if !ok {
			continue
		}
		now, last := holder.is()
		switch {
		case now.Driver == driver:
			return now, nil
		case last == driver:
			st := s.snapshot()
			return storage.Services{}, fmt.Errorf("storage %s: plugin %s is %s: %s", driver, st.Name, st.Health, st.Reason)
		case now.Driver != "":
			have = append(have, now.Driver)
		}
	}
	where := "the servers"
	if h.config.Node != "" {
		where = "node " + h.config.Node
	}
	slices.Sort(have)
	return storage.Services{}, fmt.Errorf("no plugin on %s is the storage %s; there are %v", where, driver, have)
}
