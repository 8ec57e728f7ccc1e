package pki

import (
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// Lifetimes.
const (
	caLifetime   = 10 * 365 * 24 * time.Hour
	leafLifetime = 365 * 24 * time.Hour
	// renewBefore: a certificate with less than this left is made anew.
	renewBefore = 30 * 24 * time.Hour
	// skew that clocks of clients may be behind.
	skew = 5 * time.Minute
)

const caName = "ca"

// Config of an Authority.
type Config struct {
	// Dir holds the files; it is made (mode 0700) where it is missing.
	Dir string
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Logger gets a line for each certificate that is made or renewed; nil means
	// slog.Default.
	Logger *slog.Logger
}

// Authority is the cluster's certificate authority and the place of what it has signed.
type Authority struct {
	dir  string
	now  func() time.Time
	log  *slog.Logger
	ca   Pair
	pool *x509.CertPool
	mu   sync.Mutex // serialises making of pairs
}

// Open loads the authority from its directory, or makes it on first start. A file that is
// damaged or does not match its partner is an error that names it: nothing is replaced
// silently, since clients hold certificates signed by the old authority.
func Open(cfg Config) (*Authority, error) {
	a := &Authority{dir: cfg.Dir, now: cfg.Now, log: cfg.Logger}
	if a.now == nil {
		a.now = time.Now
	}
	if a.log == nil {
		a.log = slog.Default()
	}
	if err := os.MkdirAll(a.dir, 0o700); err != nil {
		return nil, fmt.Errorf("certificate directory: %w", err)
	}
	ca, err := loadPair(a.dir, caName)
	if err != nil {
		return nil, fmt.Errorf("cluster CA: %w", err)
	}
	if ca.Certificate == nil {
		if ca, err = a.makeCA(caName, "pintle-ca", ca); err != nil {
			return nil, fmt.Errorf("cluster CA: %w", err)
		}
	}
	path := filepath.Join(a.dir, caName+".crt")
	if !ca.Certificate.IsCA {
		return nil, fmt.Errorf("cluster CA: %s is not a CA certificate", path)
	}
	if now := a.now(); now.After(ca.Certificate.NotAfter) {
		return nil, fmt.Errorf("cluster CA: %s expired on %s; remove %s.* in %s to make a new authority (all client certificates must be made anew then)",
			path, ca.Certificate.NotAfter.Format(time.DateOnly), caName, a.dir)
	} else if left := ca.Certificate.NotAfter.Sub(now); left < renewBefore {
		a.log.Warn("the cluster CA expires soon", "file", path, "left", left.Round(time.Hour))
	}
	a.ca = ca
	a.pool = x509.NewCertPool()
	a.pool.AddCert(ca.Certificate)
	return a, nil
}

// CAPEM returns the authority's certificate.
func (a *Authority) CAPEM() []byte { return slices.Clone(a.ca.CertPEM) }

// CA is the authority's certificate.
func (a *Authority) CA() *x509.Certificate { return a.ca.Certificate }

// CAFile returns the path of the authority's certificate.
func (a *Authority) CAFile() string { return filepath.Join(a.dir, caName+".crt") }

// Pool returns a pool with the authority's certificate, for verifying clients and servers.
func (a *Authority) Pool() *x509.CertPool { return a.pool }

// makeCA makes a self-signed authority kept as FILE.crt and FILE.key.
func (a *Authority) makeCA(file, name string, p Pair) (Pair, error) {
	now := a.now()
	return a.make(file, p, &x509.Certificate{
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             now.Add(-skew),
		NotAfter:              now.Add(caLifetime),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}, nil)
}

// leaf returns the pair called name, made anew where it is missing, near its end, or no
// longer says what want says.
func (a *Authority) leaf(name string, want *x509.Certificate) (Pair, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.leafOf(&a.ca, a.CAFile(), name, want)
}

// leafOf is leaf for the CA in caFile; the caller holds mu.
func (a *Authority) leafOf(ca *Pair, caFile, name string, want *x509.Certificate) (Pair, error) {
	p, err := loadPair(a.dir, name)
	if err != nil {
		return Pair{}, err
	}
	now := a.now()
	reason := "first start"
	if c := p.Certificate; c != nil {
		path := filepath.Join(a.dir, name+".crt")
		if err := c.CheckSignatureFrom(ca.Certificate); err != nil {
			return Pair{}, fmt.Errorf("%s was not signed by the CA in %s: restore the matching CA, or remove the certificate and its key to have them made anew: %w", path, caFile, err)
		}
		switch {
		case c.NotAfter.Sub(now) < renewBefore:
			reason = "expires on " + c.NotAfter.Format(time.DateOnly)
		case !sameSubject(c, want):
			reason = "names have changed"
		default:
			return p, nil
		}
	}
	want.NotBefore = now.Add(-skew)
	want.NotAfter = now.Add(leafLifetime)
	if end := ca.Certificate.NotAfter; want.NotAfter.After(end) {
		want.NotAfter = end
	}
	want.KeyUsage = x509.KeyUsageDigitalSignature
	want.BasicConstraintsValid = true
	p, err = a.make(name, p, want, ca)
	if err != nil {
		return Pair{}, fmt.Errorf("certificate %s: %w", name, err)
	}
	a.log.Info("made a certificate", "name", name, "reason", reason, "notAfter", want.NotAfter.Format(time.DateOnly))
	return p, nil
}

// make signs template and writes both files; the key of p is kept where it has one.
// A nil parent means self-signed.
func (a *Authority) make(name string, p Pair, template *x509.Certificate, parent *Pair) (Pair, error) {
	if p.key == nil {
		var err error
		if p.key, p.KeyPEM, err = newKey(); err != nil {
			return Pair{}, err
		}
		if err := WriteFile(filepath.Join(a.dir, name+".key"), p.KeyPEM); err != nil {
			return Pair{}, err
		}
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return Pair{}, fmt.Errorf("serial number: %w", err)
	}
	template.SerialNumber = serial.Add(serial, big.NewInt(1))
	signer, signerCert := p.key, template
	if parent != nil {
		signer, signerCert = parent.key, parent.Certificate
	}
	der, err := x509.CreateCertificate(rand.Reader, template, signerCert, &p.key.PublicKey, signer)
	if err != nil {
		return Pair{}, fmt.Errorf("sign: %w", err)
	}
	if p.Certificate, err = x509.ParseCertificate(der); err != nil {
		return Pair{}, fmt.Errorf("parse what was signed: %w", err)
	}
	p.CertPEM = pem.EncodeToMemory(&pem.Block{Type: blockCertificate, Bytes: der})
	if err := WriteFile(filepath.Join(a.dir, name+".crt"), p.CertPEM); err != nil {
		return Pair{}, err
	}
	return p, nil
}

// sameSubject compares what identifies the holder; order does not matter.
func sameSubject(have, want *x509.Certificate) bool {
	sorted := func(s []string) []string { s = slices.Clone(s); slices.Sort(s); return slices.Compact(s) }
	ips := func(l []net.IP) []string {
		out := make([]string, len(l))
		for i, ip := range l {
			out[i] = ip.String()
		}
		return sorted(out)
	}
	return have.Subject.CommonName == want.Subject.CommonName &&
		slices.Equal(sorted(have.Subject.Organization), sorted(want.Subject.Organization)) &&
		slices.Equal(sorted(have.DNSNames), sorted(want.DNSNames)) &&
		slices.Equal(ips(have.IPAddresses), ips(want.IPAddresses)) &&
		slices.Equal(have.ExtKeyUsage, want.ExtKeyUsage)
}

var errNoName = errors.New("a certificate needs a user name")
