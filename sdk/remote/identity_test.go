package remote_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net"
	"strings"
	"testing"

	"github.com/pintle-dev/pintle/sdk/remote"
)

func TestIdentity(t *testing.T) {
	host, err := remote.NewIdentity()
	if err != nil {
		t.Fatal(err)
	}
	plugin, err := remote.NewIdentity() // has all that a plugin's certificate must have
	if err != nil {
		t.Fatal(err)
	}
	name, text, _ := strings.Cut(host.Env, "=")
	block, rest := pem.Decode([]byte(text))
	if name != "PLUGIN_CLIENT_CERT" || block == nil || len(rest) > 0 {
		t.Fatalf("environment %q", host.Env)
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	if key, ok := cert.PublicKey.(*ecdsa.PublicKey); !ok || key.Curve != elliptic.P256() {
		t.Errorf("the key is a %T, want one on P-256, which every TLS library takes", cert.PublicKey)
	}
	if other, err := x509.ParseCertificate(plugin.TLS.Certificates[0].Certificate[0]); err != nil || other.SerialNumber.Cmp(cert.SerialNumber) == 0 || other.Equal(cert) {
		t.Errorf("two identities are the same one (%v)", err)
	}

	roots := x509.NewCertPool()
	roots.AddCert(cert)
	server := &tls.Config{
		Certificates: plugin.TLS.Certificates, MinVersion: tls.VersionTLS12,
		ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: roots,
	}
	shake := func(client *tls.Config) (clients, servers error) {
		a, b := net.Pipe()
		defer a.Close()
		done := make(chan error, 1)
		go func() {
			defer b.Close()
			done <- tls.Server(b, server).HandshakeContext(t.Context())
		}()
		clients = tls.Client(a, client).HandshakeContext(t.Context())
		if clients != nil {
			_ = a.Close()
		}
		return clients, <-done
	}
	if err, _ := shake(host.TLS.Clone()); err == nil {
		t.Error("before the handshake's line has told the plugin's certificate, the host trusts somebody")
	}
	trusting := host.TLS.Clone()
	trusting.RootCAs = x509.NewCertPool()
	known, err := x509.ParseCertificate(plugin.TLS.Certificates[0].Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	trusting.RootCAs.AddCert(known)
	if clients, servers := shake(trusting); clients != nil || servers != nil {
		t.Errorf("host and plugin do not trust each other: %v, %v", clients, servers)
	}
}
