package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"path/filepath"
)

// Pair is a certificate and its private key.
type Pair struct {
	// CertPEM and KeyPEM are what the files hold.
	CertPEM, KeyPEM []byte
	// Certificate is CertPEM parsed.
	Certificate *x509.Certificate

	key *ecdsa.PrivateKey
}

// TLS returns the pair for a tls.Config.
func (p Pair) TLS() tls.Certificate {
	return tls.Certificate{
		Certificate: [][]byte{p.Certificate.Raw},
		PrivateKey:  p.key,
		Leaf:        p.Certificate,
	}
}

// PEM block types.
const (
	blockCertificate = "CERTIFICATE"
	blockECKey       = "EC PRIVATE KEY"
)

func newKey() (*ecdsa.PrivateKey, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("generate key: %w", err)
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, nil, fmt.Errorf("encode key: %w", err)
	}
	return key, pem.EncodeToMemory(&pem.Block{Type: blockECKey, Bytes: der}), nil
}

// onePEM returns the only block of a file, so that a file cut short or with something
// appended is noticed and named.
func onePEM(path string, data []byte, typ string) ([]byte, error) {
	block, rest := pem.Decode(data)
	if block == nil {
		return nil, fmt.Errorf("%s: no PEM block %q in it; the file is damaged: restore it, or remove it to have it made anew", path, typ)
	}
	if block.Type != typ {
		return nil, fmt.Errorf("%s: holds a PEM block %q where %q is expected", path, block.Type, typ)
	}
	if len(rest) > 0 {
		return nil, fmt.Errorf("%s: %d bytes follow the PEM block; the file is damaged: restore it, or remove it to have it made anew", path, len(rest))
	}
	return block.Bytes, nil
}

// loadPair reads NAME.crt and NAME.key. The key is written before the certificate, so a
// key alone is what a crash leaves and is used again: the pair then comes back with a nil
// Certificate. A certificate without its key can't come about like that and is an error.
// A nil key means that there is nothing yet.
func loadPair(dir, name string) (Pair, error) {
	certPath, keyPath := filepath.Join(dir, name+".crt"), filepath.Join(dir, name+".key")
	certPEM, err := readFile(certPath)
	if err != nil {
		return Pair{}, err
	}
	keyPEM, err := readFile(keyPath)
	if err != nil {
		return Pair{}, err
	}
	if keyPEM == nil {
		if certPEM != nil {
			return Pair{}, fmt.Errorf("%s is missing though %s exists: restore the key, or remove the certificate to have both made anew", keyPath, certPath)
		}
		return Pair{}, nil
	}
	p := Pair{CertPEM: certPEM, KeyPEM: keyPEM}
	der, err := onePEM(keyPath, keyPEM, blockECKey)
	if err != nil {
		return Pair{}, err
	}
	if p.key, err = x509.ParseECPrivateKey(der); err != nil {
		return Pair{}, fmt.Errorf("%s: not a valid EC private key: %w", keyPath, err)
	}
	if certPEM == nil {
		return p, nil
	}
	if der, err = onePEM(certPath, certPEM, blockCertificate); err != nil {
		return Pair{}, err
	}
	if p.Certificate, err = x509.ParseCertificate(der); err != nil {
		return Pair{}, fmt.Errorf("%s: not a valid certificate: %w", certPath, err)
	}
	if !p.key.PublicKey.Equal(p.Certificate.PublicKey) {
		return Pair{}, fmt.Errorf("%s does not belong to the key in %s: restore the matching file, or remove both to have them made anew", certPath, keyPath)
	}
	return p, nil
}
