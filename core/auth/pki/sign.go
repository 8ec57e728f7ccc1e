package pki

import (
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"time"
)

// shortLived certificates are valid for the whole time that was asked for; of longer ones the
// time for clocks that are behind is taken off the end.
const shortLived = 8 * time.Hour

// Request is a certificate that somebody else holds the key of.
type Request struct {
	// CSR names the subject and the alternative names. Extensions of it are not taken over.
	CSR      *x509.CertificateRequest
	Usage    x509.KeyUsage
	ExtUsage []x509.ExtKeyUsage
	// Lifetime from now on. The certificate never outlives the authority.
	Lifetime time.Duration
}

// Sign signs a request and returns the certificate in PEM. It is not kept.
func (a *Authority) Sign(r Request) ([]byte, error) {
	if err := r.CSR.CheckSignature(); err != nil {
		return nil, fmt.Errorf("unable to verify certificate request signature: %w", err)
	}
	now, end := a.now(), a.ca.Certificate.NotAfter
	if !now.Before(end) {
		return nil, fmt.Errorf("the signer has expired: NotAfter=%v", end)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, fmt.Errorf("serial number: %w", err)
	}
	if serial.Sign() == 0 {
		return nil, errors.New("serial number: the random source gave zero")
	}
	lifetime := r.Lifetime
	if lifetime >= shortLived {
		lifetime -= skew
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: r.CSR.Subject,
		DNSNames: r.CSR.DNSNames, IPAddresses: r.CSR.IPAddresses, EmailAddresses: r.CSR.EmailAddresses, URIs: r.CSR.URIs,
		KeyUsage: r.Usage, ExtKeyUsage: r.ExtUsage, BasicConstraintsValid: true,
		NotBefore: now.Add(-skew), NotAfter: now.Add(lifetime),
	}
	if template.NotAfter.After(end) {
		template.NotAfter = end
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.ca.Certificate, r.CSR.PublicKey, a.ca.key)
	if err != nil {
		return nil, fmt.Errorf("failed to sign certificate: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: blockCertificate, Bytes: der}), nil
}
