package backend

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"time"
)

// Trust says how a server is known and what is shown to it.
type Trust struct {
	// CABundle holds PEM certificates that the server's is verified with; empty means the
	// machine's roots.
	CABundle []byte
	// Insecure does not verify the server's certificate.
	Insecure bool
	// Client is the certificate that is shown to the server, if any.
	Client *tls.Certificate
	// ServerName in the server's certificate; empty means the host that is dialled.
	ServerName string
}

// errBundle is what client libraries say of a bundle without a certificate.
var errBundle = errors.New("unable to load root certificates: unable to parse bytes as PEM block")

// TLS returns the configuration for connections to the server.
func (t Trust) TLS() (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName, InsecureSkipVerify: t.Insecure} //nolint:gosec // where an APIService asks for it
	if len(bytes.TrimSpace(t.CABundle)) > 0 {
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(t.CABundle) {
			return nil, errBundle
		}
	}
	if t.Client != nil {
		// Shown whatever authorities the server names: it may name none or too few.
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return t.Client, nil }
	}
	return c, nil
}

const (
	dialTimeout = 5 * time.Second
	keepAlive   = 30 * time.Second
	idleTimeout = 90 * time.Second
)

// Dial opens a connection to an endpoint of a Service.
func (r *Resolver) Dial(ctx context.Context, s Service) (net.Conn, error) {
	address, err := r.Address(ctx, s)
	if err != nil {
		return nil, err
	}
	return dialer.DialContext(ctx, "tcp", address)
}

var dialer = &net.Dialer{Timeout: dialTimeout, KeepAlive: keepAlive}

// Transport returns a transport for a server. Where service is nil, connections go where a
// request's URL says, else to an endpoint of the Service, whatever the URL says, chosen
// anew for each connection. http1 is for connections that are to be upgraded.
func (r *Resolver) Transport(service *Service, t Trust, http1 bool) (*http.Transport, error) {
	if service != nil && t.ServerName == "" {
		t.ServerName = service.Host()
	}
	config, err := t.TLS()
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{
		DialContext:         dialer.DialContext,
		TLSClientConfig:     config,
		TLSHandshakeTimeout: dialTimeout,
		IdleConnTimeout:     idleTimeout,
		MaxIdleConnsPerHost: 16,
		DisableCompression:  true, // bodies are passed on as they are
		ForceAttemptHTTP2:   !http1,
	}
	if service != nil {
		s := *service
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) { return r.Dial(ctx, s) }
	}
	if http1 {
		config.NextProtos = []string{"http/1.1"}
		transport.DisableKeepAlives = true
	}
	return transport, nil
}
