package node

import (
	"github.com/pintle-dev/pintle/core/host"
	"github.com/pintle-dev/pintle/sdk/storage"
)

// storages are those that the node's plugins are.
type storages struct{ host *host.Host }

// Storage implements volume.Storages.
func (s storages) Storage(driver string) (storage.Services, string, error) {
	return s.host.NodeStorage(driver)
}
