package confine

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"
	"sync"
)

// users gives guests their user ids and remembers them. An id begins as a hash of the host's
// directory and the guest's name, so that guests of several hosts on a machine differ.
type users struct {
	path string
	ids  Range
	salt string

	mu    sync.Mutex
	known map[string]uint32 // nil until it was read
}

func newUsers(path string, ids Range, salt string) *users {
	return &users{path: path, ids: ids, salt: salt}
}

// of returns the id of a guest.
func (u *users) of(name string) (uint32, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.known == nil {
		known, err := u.read()
		if err != nil {
			return 0, err
		}
		u.known = known
	}
	if id, ok := u.known[name]; ok && u.inRange(id) {
		return id, nil
	}
	taken := make(map[uint32]bool, len(u.known))
	for _, id := range u.known {
		taken[id] = true
	}
	if uint64(len(taken)) >= uint64(u.ids.Count) {
		return 0, fmt.Errorf("user of %s: all %d ids from %d on are taken", name, u.ids.Count, u.ids.First)
	}
	hash := fnv.New32a()
	_, _ = hash.Write([]byte(u.salt + "\x00" + name)) // never fails
	at := hash.Sum32() % u.ids.Count
	for taken[u.ids.First+at] {
		at = (at + 1) % u.ids.Count
	}
	id := u.ids.First + at
	u.known[name] = id
	if err := u.write(); err != nil {
		delete(u.known, name)
		return 0, err
	}
	return id, nil
}

func (u *users) inRange(id uint32) bool {
	return id >= u.ids.First && uint64(id) < uint64(u.ids.First)+uint64(u.ids.Count)
}

func (u *users) read() (map[string]uint32, error) {
	known := map[string]uint32{}
	b, err := os.ReadFile(u.path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return known, nil
	case err != nil:
		return nil, fmt.Errorf("users of guests: %w", err)
	}
	if err := json.Unmarshal(b, &known); err != nil {
		return nil, fmt.Errorf("users of guests: %s: %w", u.path, err)
	}
	return known, nil
}

func (u *users) write() error {
	b, err := json.MarshalIndent(u.known, "", "  ")
	if err != nil {
		return fmt.Errorf("users of guests: %w", err)
	}
	f, err := os.CreateTemp(filepath.Dir(u.path), ".users-")
	if err != nil {
		return fmt.Errorf("users of guests: %w", err)
	}
	_, err = f.Write(append(b, '\n'))
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), u.path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return fmt.Errorf("users of guests: %w", err)
	}
	return nil
}
