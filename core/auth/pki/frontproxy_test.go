package pki_test

import (
	"bytes"
	"crypto/x509"
	"testing"
	"time"

	"github.com/pintle-dev/pintle/core/auth/pki"
)

func TestFrontProxyHasAnAuthorityOfItsOwn(t *testing.T) {
	dir, now := t.TempDir(), time.Now()
	a := open(t, dir, now)
	first, err := a.FrontProxy()
	if err != nil {
		t.Fatal(err)
	}
	verify := func(pool *x509.CertPool, p pki.Pair) error {
		_, err := p.Certificate.Verify(x509.VerifyOptions{Roots: pool, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
		return err
	}
	if err := verify(first.Pool(), first.Client); err != nil {
		t.Errorf("the front proxy's certificate: %v", err)
	}
	if err := verify(a.Pool(), first.Client); err == nil {
		t.Error("the cluster's authority vouches for the front proxy's certificate")
	}
	if err := verify(first.Pool(), must(t)(a.Admin())); err == nil {
		t.Error("the front proxy's authority vouches for a client's certificate")
	}
	if got := first.Client.Certificate.Subject.CommonName; got != pki.FrontProxyUser {
		t.Errorf("the name is %q, want %q", got, pki.FrontProxyUser)
	}

	again, err := open(t, dir, now).FrontProxy()
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(again.CAPEM(), first.CAPEM()) || !bytes.Equal(again.Client.CertPEM, first.Client.CertPEM) {
		t.Error("a second start made the certificates anew")
	}
	later, err := open(t, dir, now.Add(350*24*time.Hour)).FrontProxy()
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(later.CAPEM(), first.CAPEM()) || bytes.Equal(later.Client.CertPEM, first.Client.CertPEM) {
		t.Error("near its end the client's certificate must be made anew, and its authority kept")
	}
}
