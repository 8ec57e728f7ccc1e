package connect

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

const (
	defaultAgentPort = 10250
	dialTimeout      = 10 * time.Second
	keepAlive        = 30 * time.Second
)

// agent is where a node's agent is reached.
type agent struct{ node, host, port string }

func (a agent) address() string { return net.JoinHostPort(a.host, a.port) }

// url of a path on the agent.
func (a agent) url(path string, query url.Values) *url.URL {
	return &url.URL{Scheme: "https", Host: a.address(), Path: path, RawQuery: query.Encode()}
}

// addressTypes by preference: addresses need no name service.
var addressTypes = []corev1.NodeAddressType{
	corev1.NodeInternalIP, corev1.NodeExternalIP, corev1.NodeInternalDNS, corev1.NodeExternalDNS, corev1.NodeHostName,
}

// agentOf reads where a node's agent is reached from the node's status.
func (h *Handler) agentOf(ctx context.Context, name string) (agent, error) {
	var node corev1.Node
	if err := h.get(ctx, "nodes", "", name, &node); err != nil {
		return agent{}, err
	}
	port := int(node.Status.DaemonEndpoints.KubeletEndpoint.Port)
	if port <= 0 {
		port = defaultAgentPort
	}
	for _, t := range addressTypes {
		for _, a := range node.Status.Addresses {
			if a.Type == t && a.Address != "" {
				return agent{name, a.Address, strconv.Itoa(port)}, nil
			}
		}
	}
	return agent{}, apierrors.NewInternalError(fmt.Errorf("no preferred addresses found; known addresses: %v", node.Status.Addresses))
}

// nodeKey carries the name of the node that a connection is meant for.
type nodeKey struct{}

// agentTransport dials node agents. A connection serves one request: the nodes of a test
// cluster may share an address, and one must not be taken for another.
func agentTransport(base *tls.Config) *http.Transport {
	dialer := &net.Dialer{Timeout: dialTimeout, KeepAlive: keepAlive}
	return &http.Transport{
		DisableKeepAlives:   true,
		DisableCompression:  true,
		TLSHandshakeTimeout: dialTimeout,
		DialTLSContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			node, _ := ctx.Value(nodeKey{}).(string)
			host, _, err := net.SplitHostPort(addr)
			if err != nil {
				return nil, err
			}
			raw, err := dialer.DialContext(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			conn := tls.Client(raw, agentTLS(base, node, host))
			handshake, cancel := context.WithTimeout(ctx, dialTimeout)
			defer cancel()
			if err := conn.HandshakeContext(handshake); err != nil {
				_ = raw.Close() // the handshake's error is the one to tell
				return nil, fmt.Errorf("node %s at %s: %w", node, addr, err)
			}
			return conn, nil
		},
	}
}

// agentTLS verifies that the other side is the node: its certificate must be signed by
// the cluster's CA and be valid for the node's name or for the address dialled. The
// library verifies one name only, so it is told not to and the same checks follow here.
func agentTLS(base *tls.Config, node, host string) *tls.Config {
	cfg := base.Clone()
	cfg.NextProtos = []string{"http/1.1"} // upgrades need it
	cfg.MinVersion = tls.VersionTLS12
	cfg.InsecureSkipVerify = true
	cfg.ServerName = node
	cfg.VerifyConnection = func(s tls.ConnectionState) error {
		opts := x509.VerifyOptions{Roots: base.RootCAs, Intermediates: x509.NewCertPool(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
		for _, c := range s.PeerCertificates[1:] {
			opts.Intermediates.AddCert(c)
		}
		leaf := s.PeerCertificates[0]
		if _, err := leaf.Verify(opts); err != nil {
			return fmt.Errorf("verify the node's serving certificate: %w", err)
		}
		if leaf.VerifyHostname(node) == nil {
			return nil
		}
		if err := leaf.VerifyHostname(host); err != nil {
			return fmt.Errorf("the serving certificate is neither for node %s nor for its address: %w", node, err)
		}
		return nil
	}
	return cfg
}

// directTransport dials pods, whose certificates nobody in the cluster vouches for.
func directTransport() *http.Transport {
	return &http.Transport{
		DialContext:         (&net.Dialer{Timeout: dialTimeout, KeepAlive: keepAlive}).DialContext,
		TLSClientConfig:     &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}},
		TLSHandshakeTimeout: dialTimeout,
		DisableKeepAlives:   true,
		DisableCompression:  true,
	}
}
