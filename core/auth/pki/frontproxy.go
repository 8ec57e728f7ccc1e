package pki

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"path/filepath"
	"slices"
)

// FrontProxyUser is the name in the certificate by which the API server shows an extension
// API server that it is the front proxy. It may not be a user's: a request that carries the
// certificate is believed about who it is from.
const FrontProxyUser = "front-proxy-client"

const frontProxyCA = "front-proxy-ca"

// FrontProxy is what the API server forwards requests to extension API servers with. Its
// authority is not the cluster's: who trusts it believes what headers say about the user,
// which no certificate for an ordinary client must bring about.
type FrontProxy struct {
	// Client is the certificate that is shown to extension API servers.
	Client Pair

	ca Pair
}

// CAPEM returns the certificate of the authority that has signed Client: the
// requestheader-client-ca-file of extension API servers.
func (f FrontProxy) CAPEM() []byte { return slices.Clone(f.ca.CertPEM) }

// Pool returns a pool with the authority's certificate.
func (f FrontProxy) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(f.ca.Certificate)
	return pool
}

// FrontProxy returns the front proxy's authority ("front-proxy-ca") and client certificate
// ("front-proxy-client"), made on first use.
func (a *Authority) FrontProxy() (FrontProxy, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	ca, err := loadPair(a.dir, frontProxyCA)
	if err != nil {
		return FrontProxy{}, fmt.Errorf("front proxy CA: %w", err)
	}
	if ca.Certificate == nil {
		if ca, err = a.makeCA(frontProxyCA, "pintle-front-proxy-ca", ca); err != nil {
			return FrontProxy{}, fmt.Errorf("front proxy CA: %w", err)
		}
	}
	file := filepath.Join(a.dir, frontProxyCA+".crt")
	if !ca.Certificate.IsCA {
		return FrontProxy{}, fmt.Errorf("front proxy CA: %s is not a CA certificate", file)
	}
	client, err := a.leafOf(&ca, file, FrontProxyUser, &x509.Certificate{
		Subject:     pkix.Name{CommonName: FrontProxyUser},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		return FrontProxy{}, err
	}
	return FrontProxy{Client: client, ca: ca}, nil
}
