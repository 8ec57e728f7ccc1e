package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/pintle-dev/pintle/sdk/runtimedriver"
)

// state is all that there is.
type state struct {
	Sandboxes  map[string]runtimedriver.Sandbox   `json:"sandboxes"`
	Containers map[string]runtimedriver.Container `json:"containers"`
	// Images by their normalised references.
	Images map[string]runtimedriver.Image `json:"images"`
}

// file keeps the state. There is always a whole one, and who changes it has it alone, also where
// there are two processes.
type file struct {
	mu         sync.Mutex
	path, lock string
}

func newFile(dir string) *file {
	return &file{path: filepath.Join(dir, "state.json"), lock: filepath.Join(dir, "lock")}
}

func (f *file) read() (*state, error) {
	s := &state{Sandboxes: map[string]runtimedriver.Sandbox{}, Containers: map[string]runtimedriver.Container{}, Images: map[string]runtimedriver.Image{}}
	text, err := os.ReadFile(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err == nil {
		err = json.Unmarshal(text, s)
	}
	if err != nil {
		return nil, fmt.Errorf("what there is: %w", err)
	}
	return s, nil
}

// change lets f change the state, and keeps what it made of it unless it fails.
func (f *file) change(change func(*state) error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	lock, err := os.OpenFile(f.lock, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer lock.Close() // and with it the lock
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return fmt.Errorf("lock %s: %w", f.lock, err)
	}
	s, err := f.read()
	if err != nil {
		return err
	}
	if err := change(s); err != nil {
		return err
	}
	text, err := json.Marshal(s)
	if err != nil {
		return err
	}
	if err := os.WriteFile(f.path+".new", text, 0o600); err != nil {
		return err
	}
	return os.Rename(f.path+".new", f.path)
}
