package catalogue

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/sigstore/sigstore/pkg/cryptoutils"
	sigstore "github.com/sigstore/sigstore/pkg/signature"
)

// Key is a public key whose signatures are trusted.
type Key struct {
	// Name by which people know it; it is shown as who signed.
	Name string
	// PEM of the key, as `pintle plugin keygen` and `cosign generate-key-pair` write it: ECDSA,
	// Ed25519 or RSA.
	PEM []byte
}

// trustedKey is a key that is ready to verify.
type trustedKey struct {
	name     string
	verifier sigstore.Verifier
}

func parseKeys(keys []Key) ([]trustedKey, error) {
	out := make([]trustedKey, 0, len(keys))
	seen := map[string]bool{}
	for i, k := range keys {
		switch {
		case k.Name == "":
			return nil, fmt.Errorf("trusted key %d has no name", i)
		case seen[k.Name]:
			return nil, fmt.Errorf("trusted key %q: the name is taken", k.Name)
		}
		seen[k.Name] = true
		v, err := verifierOf(k.PEM)
		if err != nil {
			return nil, fmt.Errorf("trusted key %q: %w", k.Name, err)
		}
		out = append(out, trustedKey{k.Name, v})
	}
	return out, nil
}

func verifierOf(pem []byte) (sigstore.Verifier, error) {
	if strings.Contains(string(pem), "PRIVATE KEY") {
		return nil, errors.New("is a private key: give the public one, and keep this one where only its owner can read it")
	}
	pub, err := cryptoutils.UnmarshalPEMToPublicKey(pem)
	if err != nil {
		return nil, fmt.Errorf("is not a public key in PEM: %w", err)
	}
	return sigstore.LoadVerifier(pub, crypto.SHA256)
}

// CheckKey says what is wrong with the PEM of a public key.
func CheckKey(pem []byte) error {
	_, err := verifierOf(pem)
	return err
}

// Fingerprint is the SHA-256 sum (hexadecimal) of a public key in PEM, by which people compare
// keys.
func Fingerprint(pem []byte) (string, error) {
	pub, err := cryptoutils.UnmarshalPEMToPublicKey(pem)
	if err != nil {
		return "", fmt.Errorf("not a public key in PEM: %w", err)
	}
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return "", fmt.Errorf("public key: %w", err)
	}
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:]), nil
}

// KeyType is an algorithm of signatures.
type KeyType string

// The algorithms that keys are made for.
const (
	ECDSA   KeyType = "ecdsa"
	Ed25519 KeyType = "ed25519"
)

// GenerateKey makes a pair of keys in PEM. The private one is encrypted where a password is
// given.
func GenerateKey(t KeyType, password []byte) (private, public []byte, err error) {
	var key crypto.PrivateKey
	var pub crypto.PublicKey
	switch t {
	case ECDSA, "":
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, nil, fmt.Errorf("making a key: %w", err)
		}
		key, pub = k, k.Public()
	case Ed25519:
		p, k, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			return nil, nil, fmt.Errorf("making a key: %w", err)
		}
		key, pub = k, p
	default:
		return nil, nil, fmt.Errorf("key type %q is neither %s nor %s", t, ECDSA, Ed25519)
	}
	if len(password) == 0 {
		private, err = cryptoutils.MarshalPrivateKeyToPEM(key)
	} else {
		var der []byte
		der, err = cryptoutils.MarshalPrivateKeyToEncryptedDER(key, cryptoutils.StaticPasswordFunc(password))
		private = cryptoutils.PEMEncode(cryptoutils.EncryptedSigstorePrivateKeyPEMType, der)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("encoding the private key: %w", err)
	}
	if public, err = cryptoutils.MarshalPublicKeyToPEM(pub); err != nil {
		return nil, nil, fmt.Errorf("encoding the public key: %w", err)
	}
	return private, public, nil
}

// Signer signs plugins by a private key.
type Signer struct{ key sigstore.SignerVerifier }

// NewSigner reads a private key in PEM. The password is asked for where the key is encrypted.
func NewSigner(pem []byte, password func() ([]byte, error)) (*Signer, error) {
	key, err := cryptoutils.UnmarshalPEMToPrivateKey(pem, func(bool) ([]byte, error) { return password() })
	if err != nil {
		return nil, fmt.Errorf("private key: %w", err)
	}
	sv, err := sigstore.LoadSignerVerifier(key, crypto.SHA256)
	if err != nil {
		return nil, fmt.Errorf("private key: %w", err)
	}
	return &Signer{sv}, nil
}
