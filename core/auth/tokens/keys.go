package tokens

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pintle-dev/pintle/core/auth/pki"
)

// signingKeyFile is the key that new tokens are signed with. Other files named sa-*.key
// or sa-*.pub in the directory only verify: to rotate, rename sa.key to sa-DATE.key and
// restart; remove that file when its last token has expired.
const signingKeyFile = "sa.key"

// Keys are the keys of one cluster: one signs, all verify.
type Keys struct {
	signing   *ecdsa.PrivateKey
	signingID string
	verify    map[string]*ecdsa.PublicKey // by key id
	ids       []string                    // signing key first
}

// OpenKeys loads the keys from dir, and makes the signing key where there is none.
func OpenKeys(dir string) (*Keys, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("service-account keys: %w", err)
	}
	path := filepath.Join(dir, signingKeyFile)
	key, err := loadPrivate(path)
	if errors.Is(err, fs.ErrNotExist) {
		key, err = makeKey(path)
	}
	if err != nil {
		return nil, fmt.Errorf("service-account keys: %w", err)
	}
	k := &Keys{signing: key, verify: map[string]*ecdsa.PublicKey{}}
	if k.signingID, err = k.add(&key.PublicKey); err != nil {
		return nil, fmt.Errorf("service-account keys: %s: %w", path, err)
	}
	older, err := filepath.Glob(filepath.Join(dir, "sa-*"))
	if err != nil {
		return nil, fmt.Errorf("service-account keys: %w", err)
	}
	slices.Sort(older)
	for _, path := range older {
		pub, err := loadPublic(path)
		if err != nil {
			return nil, fmt.Errorf("service-account keys: %w", err)
		}
		if pub == nil {
			continue
		}
		if _, err := k.add(pub); err != nil {
			return nil, fmt.Errorf("service-account keys: %s: %w", path, err)
		}
	}
	return k, nil
}

func (k *Keys) add(pub *ecdsa.PublicKey) (string, error) {
	if pub.Curve != elliptic.P256() {
		return "", fmt.Errorf("the key is on curve %s; ES256 needs P-256", pub.Curve.Params().Name)
	}
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return "", fmt.Errorf("encode public key: %w", err)
	}
	sum := sha256.Sum256(der)
	id := base64.RawURLEncoding.EncodeToString(sum[:])
	if _, ok := k.verify[id]; !ok {
		k.verify[id] = pub
		k.ids = append(k.ids, id)
	}
	return id, nil
}

func loadPublic(path string) (*ecdsa.PublicKey, error) {
	switch {
	case strings.HasSuffix(path, ".key"):
		key, err := loadPrivate(path)
		if err != nil {
			return nil, err
		}
		return &key.PublicKey, nil
	case strings.HasSuffix(path, ".pub"):
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		block, _ := pem.Decode(data)
		if block == nil {
			return nil, fmt.Errorf("%s: no PEM block in it; restore the file or remove it", path)
		}
		key, err := x509.ParsePKIXPublicKey(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%s: not a valid public key: %w", path, err)
		}
		pub, ok := key.(*ecdsa.PublicKey)
		if !ok {
			return nil, fmt.Errorf("%s: holds a %T; an ECDSA P-256 key is needed", path, key)
		}
		return pub, nil
	}
	return nil, nil
}

func loadPrivate(path string) (*ecdsa.PrivateKey, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, rest := pem.Decode(data)
	if block == nil || len(rest) > 0 {
		return nil, fmt.Errorf("%s: not a single PEM block; the file is damaged: restore it, or remove it to have a new key made (all tokens are void then)", path)
	}
	key, err := x509.ParseECPrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s: not a valid EC private key: %w", path, err)
	}
	return key, nil
}

func makeKey(path string) (*ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("generate key: %w", err)
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode key: %w", err)
	}
	data := pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})
	if err := pki.WriteFile(path, data); err != nil {
		return nil, err
	}
	return key, nil
}
