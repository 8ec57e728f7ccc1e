package remote

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"time"
)

// clientCertEnv tells a plugin which certificate its host will show.
const clientCertEnv = "PLUGIN_CLIENT_CERT"

// identityLife is how long a certificate is valid: as long as a plugin's process may live.
const identityLife = 30 * 365 * 24 * time.Hour

// Identity is a host's one-time key and certificate for one process of a plugin.
type Identity struct {
	// Env is what has to be in the process's environment.
	Env string
	// TLS is for go-plugin, which adds the plugin's certificate from the handshake to it as
	// the only root. Until then nobody is trusted.
	TLS *tls.Config
}

// NewIdentity does what go-plugin's AutoMTLS does, with a key on curve P-256 in place of P-521:
// TLS libraries of several languages (BoringSSL, and so gRPC for most; ring) take no other.
func NewIdentity() (Identity, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Identity{}, fmt.Errorf("make a key for a plugin's connection: %w", err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return Identity{}, fmt.Errorf("make a certificate for a plugin's connection: %w", err)
	}
	const name = "localhost"
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: name, Organization: []string{"Pintle"}},
		DNSNames:              []string{name},
		NotBefore:             time.Now().Add(-time.Minute),
		NotAfter:              time.Now().Add(identityLife),
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
		IsCA:                  true, // of itself, as it is the only root that the other end has
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return Identity{}, fmt.Errorf("make a certificate for a plugin's connection: %w", err)
	}
	return Identity{
		Env: clientCertEnv + "=" + string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		TLS: &tls.Config{
			Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
			RootCAs:      x509.NewCertPool(),
			MinVersion:   tls.VersionTLS12,
			ServerName:   name,
		},
	}, nil
}
