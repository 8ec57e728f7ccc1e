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
	"time"

	"github.com/pintle-dev/pintle/core/auth/pki"
)

// peerHost is what every server is called in its certificate for the others: whoever the
// authority has signed is one of them, wherever it is.
const peerHost = "peer.pintle.internal"

// certificateLife of what a server shows the others: as long as the authority's. It is made in
// memory at every start.
const certificateLife = 10 * 365 * 24 * time.Hour

// settled is the time after which an authority was made at which everything is valid that it
// has signed.
const settled = 10 * time.Minute

// PeerTLS opens the authority in dir, makes it where it is missing, and returns how the
// server called id talks with the others: both sides show a certificate of that authority.
//
// No clock decides about it: servers whose clocks jump must go on talking with each other. So
// all certificates are signed and checked as of the time at which the authority was new. They
// don't expire by themselves; who was removed is known by name, and all keys are void with the
// authority.
func PeerTLS(dir, id string, log *slog.Logger) (*tls.Config, error) {
	authority, err := pki.Open(pki.Config{Dir: dir, Logger: log})
	if err != nil {
		return nil, fmt.Errorf("authority of the servers: %w", err)
	}
	then := authority.CA().NotBefore.Add(settled)
	timeless := func() time.Time { return then }
	if authority, err = pki.Open(pki.Config{Dir: dir, Now: timeless, Logger: log}); err != nil {
		return nil, fmt.Errorf("authority of the servers: %w", err)
	}
	certificate, err := peerCertificate(authority, id)
	if err != nil {
		return nil, fmt.Errorf("certificate for the other servers: %w", err)
	}
	return &tls.Config{
		MinVersion:   tls.VersionTLS13,
		ServerName:   peerHost,
		RootCAs:      authority.Pool(),
		ClientCAs:    authority.Pool(),
		ClientAuth:   tls.RequireAndVerifyClientCert,
		Certificates: []tls.Certificate{certificate},
		Time:         timeless,
	}, nil
}

func peerCertificate(authority *pki.Authority, id string) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject: pkix.Name{CommonName: id}, DNSNames: []string{peerHost},
	}, key)
	if err != nil {
		return tls.Certificate{}, err
	}
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return tls.Certificate{}, err
	}
	signed, err := authority.Sign(pki.Request{
		CSR: csr, Usage: x509.KeyUsageDigitalSignature, Lifetime: certificateLife,
		ExtUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		return tls.Certificate{}, err
	}
	block, _ := pem.Decode(signed)
	if block == nil {
		return tls.Certificate{}, errors.New("what was signed is no PEM")
	}
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{block.Bytes}, PrivateKey: key, Leaf: leaf}, nil
}
