package encryption

import (
	"context"
	"crypto/cipher"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/pintle-dev/pintle/sdk/kms"
)

// KeyFile wraps data keys with the keys in a file:
//
//	keys:
//	- name: key2
//	  secret: <base64 of 32 bytes>
//	- name: key1
//	  secret: …
//
// The first wraps, all unwrap. Nobody but the file's owner may have any right to it. A KeyFile
// does not change; ReadKeyFile makes another of a file that has.
type KeyFile struct {
	path  string
	names []string
	keys  map[string]cipher.AEAD
}

// fileKey is an entry of the file.
type fileKey struct {
	Name   string `json:"name"`
	Secret string `json:"secret"`
}

type fileContent struct {
	Keys []fileKey `json:"keys"`
}

var keyName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$`)

// ReadKeyFile reads a file of keys. Errors name the file and what is wrong in it, and nothing
// that is secret.
func ReadKeyFile(path string) (*KeyFile, error) {
	content, err := readKeys(path)
	if err != nil {
		return nil, err
	}
	f := &KeyFile{path: path, keys: map[string]cipher.AEAD{}}
	if len(content.Keys) == 0 {
		return nil, fmt.Errorf("%s: keys: there is none; pintle encryption key %s makes one", path, path)
	}
	for i, k := range content.Keys {
		if !keyName.MatchString(k.Name) {
			return nil, fmt.Errorf("%s: keys[%d].name: %q is not a name of letters, digits, '-', '_' and '.'", path, i, k.Name)
		}
		if _, twice := f.keys[k.Name]; twice {
			return nil, fmt.Errorf("%s: keys[%d].name: %q is there twice", path, i, k.Name)
		}
		secret, err := base64.StdEncoding.DecodeString(strings.TrimSpace(k.Secret))
		if err != nil {
			return nil, fmt.Errorf("%s: keys[%d].secret: key %q is not base64", path, i, k.Name)
		}
		if f.keys[k.Name], err = newAEAD(secret); err != nil {
			return nil, fmt.Errorf("%s: keys[%d].secret: key %q: %w", path, i, k.Name, err)
		}
		f.names = append(f.names, k.Name)
	}
	return f, nil
}

func readKeys(path string) (fileContent, error) {
	var content fileContent
	info, err := os.Stat(path)
	if err != nil {
		return content, err // names the file
	}
	if info.Mode().Perm()&0o077 != 0 {
		return content, fmt.Errorf("%s: others than its owner have rights to it (%04o): chmod 600 %s", path, info.Mode().Perm(), path)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return content, err
	}
	if err := yaml.UnmarshalStrict(raw, &content); err != nil {
		// The library's error may cite the line, which may be the secret.
		return content, fmt.Errorf("%s: is not a list of keys, each with a name and a secret, below \"keys\"", path)
	}
	return content, nil
}

// AddKey makes a key of random bytes and puts it at the head of the file, or with behind at its
// end, where it unwraps and does not wrap yet. It makes the file where there is none. The file is
// replaced at once, so that servers that follow it find the old or the new one.
func AddKey(path, name string, behind bool) error {
	content, err := readKeys(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
	case err != nil:
		return err
	case slices.ContainsFunc(content.Keys, func(k fileKey) bool { return k.Name == name }):
		return fmt.Errorf("%s: there is a key %q already", path, name)
	}
	if !keyName.MatchString(name) {
		return fmt.Errorf("%q is not a name of letters, digits, '-', '_' and '.'", name)
	}
	key, err := newKey()
	if err != nil {
		return err
	}
	at := 0
	if behind {
		at = len(content.Keys)
	}
	content.Keys = slices.Insert(content.Keys, at, fileKey{Name: name, Secret: base64.StdEncoding.EncodeToString(key)})
	return writeKeys(path, content)
}

// UseKey moves a key to the head of a file.
func UseKey(path, name string) error {
	content, err := readKeys(path)
	if err != nil {
		return err
	}
	at := slices.IndexFunc(content.Keys, func(k fileKey) bool { return k.Name == name })
	if at < 0 {
		return fmt.Errorf("%s: there is no key %q", path, name)
	}
	k := content.Keys[at]
	content.Keys = slices.Insert(slices.Delete(content.Keys, at, at+1), 0, k)
	return writeKeys(path, content)
}

func writeKeys(path string, content fileContent) error {
	raw, err := yaml.Marshal(content)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return replaceFile(path, raw)
}

// Status implements Wrapper.
func (f *KeyFile) Status(context.Context) (kms.Status, error) {
	return kms.Status{KeyID: f.names[0]}, nil
}

// Wrap implements Wrapper.
func (f *KeyFile) Wrap(_ context.Context, key []byte) (kms.Wrapped, error) {
	name := f.names[0]
	return kms.Wrapped{KeyID: name, Data: f.keys[name].Seal(nil, nil, key, wrapContext(name))}, nil
}

// Unwrap implements Wrapper.
func (f *KeyFile) Unwrap(_ context.Context, w kms.Wrapped) ([]byte, error) {
	aead, ok := f.keys[w.KeyID]
	if !ok {
		return nil, fmt.Errorf("key %q is not in %s (there are: %s)", w.KeyID, f.path, strings.Join(f.names, ", "))
	}
	key, err := aead.Open(nil, nil, w.Data, wrapContext(w.KeyID))
	if err != nil {
		return nil, fmt.Errorf("key %q in %s is another one than that of this name which wrapped it", w.KeyID, f.path)
	}
	return key, nil
}

func wrapContext(name string) []byte { return append([]byte("pintle data key 1\x00"), name...) }
