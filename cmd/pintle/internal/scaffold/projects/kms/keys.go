package main

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/pintle-dev/pintle/sdk/kms"
)

// The keys are files "NAME.key" of 64 hexadecimal digits. The last name in alphabetical order
// wraps, all unwrap. Files are read at each call, so that a key that is put there is used at once.
// A key manager for a hardware module or a cloud's key service asks that instead; everything else
// stays as it is.

// Status implements kms.KeyManager.
func (p *Plugin) Status(context.Context) (kms.Status, error) {
	id, err := p.newest()
	if err != nil {
		return kms.Status{}, err
	}
	_, err = p.aead(id)
	return kms.Status{KeyID: id}, err
}

// Wrap implements kms.KeyManager.
func (p *Plugin) Wrap(_ context.Context, key []byte) (kms.Wrapped, error) {
	id, err := p.newest()
	if err != nil {
		return kms.Wrapped{}, err
	}
	aead, err := p.aead(id)
	if err != nil {
		return kms.Wrapped{}, err
	}
	// The name is authenticated, so that a wrapped key can't be said to be another's.
	return kms.Wrapped{KeyID: id, Data: aead.Seal(nil, nil, key, []byte(id))}, nil
}

// Unwrap implements kms.KeyManager.
func (p *Plugin) Unwrap(_ context.Context, w kms.Wrapped) ([]byte, error) {
	aead, err := p.aead(w.KeyID)
	if err != nil {
		return nil, err
	}
	key, err := aead.Open(nil, nil, w.Data, []byte(w.KeyID))
	if err != nil {
		return nil, fmt.Errorf("key %s does not open this: it was changed, or wrapped by another key", w.KeyID)
	}
	return key, nil
}

const suffix = ".key"

func (p *Plugin) newest() (string, error) {
	entries, err := os.ReadDir(p.settings.Directory) // sorted by name
	if err != nil {
		return "", err
	}
	for i := len(entries) - 1; i >= 0; i-- {
		if name, ok := strings.CutSuffix(entries[i].Name(), suffix); ok && name != "" {
			return name, nil
		}
	}
	return "", fmt.Errorf("there is no file NAME%s in %s", suffix, p.settings.Directory)
}

func (p *Plugin) aead(id string) (cipher.AEAD, error) {
	if id != filepath.Base(id) {
		return nil, fmt.Errorf("%q is not the name of a key", id)
	}
	raw, err := os.ReadFile(filepath.Join(p.settings.Directory, id+suffix))
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("key %q is not in %s", id, p.settings.Directory)
	}
	if err != nil {
		return nil, err
	}
	key, err := hex.DecodeString(strings.TrimSpace(string(raw)))
	if err != nil || len(key) != 32 {
		return nil, fmt.Errorf("%s%s does not hold 64 hexadecimal digits", id, suffix)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}
