package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/pintle-dev/pintle/sdk/storage"
)

// A volume is a directory below the root, by its name: what pods see is in "data", how large it is
// said to be in "capacity". Nothing enforces that; a storage that can does it here.
const (
	dataDir      = "data"
	capacityFile = "capacity"
)

// volumes are the directories below a root, of which nothing leads out, whatever pods have
// written there.
type volumes struct{ root *os.Root }

// CreateVolume implements storage.Provisioner.
func (v *volumes) CreateVolume(_ context.Context, r storage.CreateVolumeRequest) (*storage.Volume, error) {
	if err := checkName(r.Name); err != nil {
		return nil, err
	}
	has, err := v.capacity(r.Name)
	switch {
	case errors.Is(err, storage.ErrNotFound): // or half made before a crash
		if has, err = r.CapacityBytes, v.make(r.Name, r.CapacityBytes); err != nil {
			return nil, fmt.Errorf("volume %s: %w", r.Name, err)
		}
	case err != nil:
		return nil, err
	case has < r.CapacityBytes:
		return nil, fmt.Errorf("volume %s has %d bytes and not %d: %w", r.Name, has, r.CapacityBytes, storage.ErrExists)
	}
	return &storage.Volume{Handle: r.Name, CapacityBytes: has}, nil
}

func (v *volumes) make(name string, capacity int64) error {
	data := filepath.Join(name, dataDir)
	if err := v.root.MkdirAll(data, 0o711); err != nil {
		return err
	}
	if err := v.root.Chmod(data, 0o777); err != nil { // whoever a container runs as may write
		return err
	}
	return v.setCapacity(name, capacity)
}

// setCapacity is the last step of making a volume, and done as a whole or not at all.
func (v *volumes) setCapacity(name string, capacity int64) error {
	file := filepath.Join(name, capacityFile)
	if err := v.root.WriteFile(file+".new", []byte(strconv.FormatInt(capacity, 10)), 0o600); err != nil {
		return err
	}
	return v.root.Rename(file+".new", file)
}

func (v *volumes) capacity(name string) (int64, error) {
	if err := checkName(name); err != nil {
		return 0, fmt.Errorf("%w: %w", storage.ErrNotFound, err)
	}
	text, err := v.root.ReadFile(filepath.Join(name, capacityFile))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, fmt.Errorf("volume %s: %w", name, storage.ErrNotFound)
	}
	if err != nil {
		return 0, fmt.Errorf("volume %s: %w", name, err)
	}
	return strconv.ParseInt(string(text), 10, 64)
}

// DeleteVolume implements storage.Provisioner.
func (v *volumes) DeleteVolume(_ context.Context, handle string, _ map[string]string) error {
	if _, err := v.capacity(handle); errors.Is(err, errName) {
		return nil // there can't be one of that name
	}
	return v.root.RemoveAll(handle)
}

// ExpandVolume implements storage.Expander.
func (v *volumes) ExpandVolume(_ context.Context, handle string, _ map[string]string, capacity int64) (int64, error) {
	has, err := v.capacity(handle)
	if err != nil || has >= capacity {
		return has, err
	}
	return capacity, v.setCapacity(handle, capacity)
}

func checkName(name string) error {
	if name == "" || strings.ContainsAny(name, "/\\") || strings.HasPrefix(name, ".") {
		return fmt.Errorf("%w: %q is not", errName, name)
	}
	return nil
}
