package cluster

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/pintle-dev/pintle/core/auth/pki"
)

// peerHost is what every server is called in its certificate for the others: whoever the
// authority has signed is one of them, wherever it is.
const peerHost = "peer.pintle.internal"

// certificateLife of what a server shows the others. It is made in memory at every start,
// and again when half of it is over.
const certificateLife = 30 * 24 * time.Hour

// peerCertificates are a server's for the others, of an authority that signs nothing else.
type peerCertificates struct {
	authority *pki.Authority
	id        string
	now       func() time.Time

	mu      sync.Mutex
	current *tls.Certificate
}

// PeerTLS opens the authority in dir, makes it where it is missing, and returns how the
// server called id talks with the others: both sides show a certificate of that authority.
func PeerTLS(dir, id string, log *slog.Logger) (*tls.Config, error) {
	authority, err := pki.Open(pki.Config{Dir: dir, Logger: log})
	if err != nil {
		return nil, fmt.Errorf("authority of the servers: %w", err)
	}
	certs := &peerCertificates{authority: authority, id: id, now: time.Now}
	if _, err := certs.get(); err != nil {
		return nil, fmt.Errorf("certificate for the other servers: %w", err)
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		ServerName: peerHost,
		RootCAs:    authority.Pool(),
		ClientCAs:  authority.Pool(),
		ClientAuth: tls.RequireAndVerifyClientCert,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return certs.get()
		},
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return certs.get()
		},
	}, nil
}

func (c *peerCertificates) get() (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.current != nil && c.current.Leaf.NotAfter.Sub(c.now()) > certificateLife/2 {
		return c.current, nil
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject: pkix.Name{CommonName: c.id}, DNSNames: []string{peerHost},
	}, key)
	if err != nil {
		return nil, err
	}
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return nil, err
	}
	signed, err := c.authority.Sign(pki.Request{
		CSR: csr, Usage: x509.KeyUsageDigitalSignature, Lifetime: certificateLife,
		ExtUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(signed)
	if block == nil {
		return nil, errors.New("what was signed is no PEM")
	}
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, err
	}
	c.current = &tls.Certificate{Certificate: [][]byte{block.Bytes}, PrivateKey: key, Leaf: leaf}
	return c.current, nil
}
