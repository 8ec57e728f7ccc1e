package node

import (
	"errors"

	"github.com/pintle-dev/pintle/core/host"
	"github.com/pintle-dev/pintle/runtime/volume"
	"github.com/pintle-dev/pintle/sdk/storage"
)

// storages are those that the node's plugins are.
type storages struct{ host *host.Host }

// Storage implements volume.Storages.
func (s storages) Storage(driver string) (storage.Services, string, error) {
	services, dir, err := s.host.NodeStorage(driver)
	if errors.Is(err, host.ErrNoStorage) {
		err = noStorage{err}
	}
	return services, dir, err
}

// noStorage is volume.ErrNoStorage in the words of the host.
type noStorage struct{ error }

// Is implements the interface of errors.Is.
func (noStorage) Is(target error) bool { return target == volume.ErrNoStorage }
