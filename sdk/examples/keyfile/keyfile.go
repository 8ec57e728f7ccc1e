package main

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	_ "embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/pintle-dev/pintle/sdk/kms"
	"github.com/pintle-dev/pintle/sdk/plugin"
)

//go:embed plugin.yaml
var manifest []byte

// keyfile wraps with the keys in a directory: each file "NAME.key" holds 32 bytes in
// hexadecimal. The last name in alphabetical order wraps, all unwrap. Files are read at each
// call, so that a key that is put there is used at once.
type keyfile struct {
	dir string
}

var _ kms.KeyManager = (*keyfile)(nil)

// Info implements plugin.Plugin: what plugin.yaml says.
func (*keyfile) Info() plugin.Info { return plugin.MustInfoFrom(manifest) }

// ConfigSchema implements plugin.Plugin.
func (*keyfile) ConfigSchema() []byte {
	return []byte(`{"type":"object","required":["directory"],"properties":{
		"directory":{"type":"string","minLength":1,"description":"an absolute path; files NAME.key with 64 hexadecimal digits"}}}`)
}

// Configure implements plugin.Plugin.
func (k *keyfile) Configure(_ context.Context, raw []byte) error {
	var s struct {
		Directory string `json:"directory"`
	}
	if err := json.Unmarshal(raw, &s); err != nil {
		return err
	}
	if !filepath.IsAbs(s.Directory) {
		return fmt.Errorf("settings.directory: %q is not an absolute path", s.Directory)
	}
	k.dir = s.Directory
	return nil
}

// Status implements kms.KeyManager.
func (k *keyfile) Status(context.Context) (kms.Status, error) {
	id, err := k.newest()
	if err != nil {
		return kms.Status{}, err
	}
	_, err = k.aead(id)
	return kms.Status{KeyID: id}, err
}

// Wrap implements kms.KeyManager.
func (k *keyfile) Wrap(_ context.Context, key []byte) (kms.Wrapped, error) {
	id, err := k.newest()
	if err != nil {
		return kms.Wrapped{}, err
	}
	aead, err := k.aead(id)
	if err != nil {
		return kms.Wrapped{}, err
	}
	// The name is authenticated, so that a wrapped key can't be said to be another's.
	return kms.Wrapped{KeyID: id, Data: aead.Seal(nil, nil, key, []byte(id))}, nil
}

// Unwrap implements kms.KeyManager.
func (k *keyfile) Unwrap(_ context.Context, w kms.Wrapped) ([]byte, error) {
	aead, err := k.aead(w.KeyID)
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

func (k *keyfile) newest() (string, error) {
	entries, err := os.ReadDir(k.dir) // sorted by name
	if err != nil {
		return "", err
	}
	for i := len(entries) - 1; i >= 0; i-- {
		if name, ok := strings.CutSuffix(entries[i].Name(), suffix); ok && name != "" {
			return name, nil
		}
	}
	return "", fmt.Errorf("there is no file NAME%s in %s", suffix, k.dir)
}

func (k *keyfile) aead(id string) (cipher.AEAD, error) {
	if id != filepath.Base(id) {
		return nil, fmt.Errorf("%q is not the name of a key", id)
	}
	raw, err := os.ReadFile(filepath.Join(k.dir, id+suffix))
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("key %q is not in %s", id, k.dir)
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
