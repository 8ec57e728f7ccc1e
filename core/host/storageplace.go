package host

import (
	"fmt"
	"path/filepath"

	"github.com/pintle-dev/pintle/sdk/protocol"
	"github.com/pintle-dev/pintle/sdk/storage"
)

// NodeStorage is Storage for the agent of a node: it also returns the plugin's private directory,
// in which a guest can be given places to mount at, as it sees no other.
func (h *Host) NodeStorage(driver string) (services storage.Services, dir string, err error) {
	if services, err = h.Storage(driver); err != nil {
		return services, "", err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for name, s := range h.plugins {
		if holder, ok := s.holders[protocol.PointStorage].(*storageHolder); ok {
			if now, _ := holder.is(); now.Driver == driver {
				return services, filepath.Join(h.config.Dir, "plugins", name), nil
			}
		}
	}
	return services, "", fmt.Errorf("storage %s: its plugin has just ended", driver)
}
