package pki

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"net"
	"strings"
)

// Well-known users and groups.
const (
	mastersGroup = "system:masters"
	nodesGroup   = "system:nodes"
	nodeUser     = "system:node:"
)

// Server is what an API server is reached by.
type Server struct {
	// Hosts are the configured addresses, IP addresses or DNS names; the unspecified
	// address is left out.
	Hosts []string
	// ServiceIP is the address of the service "kubernetes", nil where there is none.
	ServiceIP net.IP
	// ClusterDomain of services; empty means "cluster.local".
	ClusterDomain string
}

// Serving returns the API server's certificate ("apiserver"): valid for its hosts, for
// this machine, and for the service kubernetes in the namespace default. It is made anew
// when the names change.
func (a *Authority) Serving(s Server) (Pair, error) {
	domain := s.ClusterDomain
	if domain == "" {
		domain = "cluster.local"
	}
	names := []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc." + domain}
	ips := []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}
	if s.ServiceIP != nil {
		ips = append(ips, s.ServiceIP)
	}
	n, i := splitHosts(s.Hosts)
	return a.leaf("apiserver", &x509.Certificate{
		Subject:     pkix.Name{CommonName: "kube-apiserver"},
		DNSNames:    unique(append(names, n...), func(s string) string { return s }),
		IPAddresses: unique(append(ips, i...), net.IP.String),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
}

// Admin returns the administrator's client certificate ("admin"): user kubernetes-admin
// of the group system:masters, which may do everything.
func (a *Authority) Admin() (Pair, error) {
	return a.Client("admin", "kubernetes-admin", mastersGroup)
}

// KubeletClient returns the certificate with which the API server calls node agents
// ("apiserver-kubelet-client").
func (a *Authority) KubeletClient() (Pair, error) {
	return a.Client("apiserver-kubelet-client", "kube-apiserver-kubelet-client", mastersGroup)
}

// Node returns a node agent's client certificate ("node-NAME"): user system:node:NAME of
// the group system:nodes.
func (a *Authority) Node(name string) (Pair, error) {
	if err := checkNode(name); err != nil {
		return Pair{}, err
	}
	return a.Client("node-"+name, nodeUser+name, nodesGroup)
}

// NodeServing returns the certificate of a node agent's own server
// ("node-NAME-serving"), valid for the node's name and the hosts it is reached by.
func (a *Authority) NodeServing(name string, hosts ...string) (Pair, error) {
	if err := checkNode(name); err != nil {
		return Pair{}, err
	}
	names, ips := splitHosts(hosts)
	return a.leaf("node-"+name+"-serving", &x509.Certificate{
		Subject:     pkix.Name{CommonName: nodeUser + name, Organization: []string{nodesGroup}},
		DNSNames:    unique(append([]string{name}, names...), func(s string) string { return s }),
		IPAddresses: unique(ips, net.IP.String),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
}

// Client returns a client certificate for a user and its groups, kept as FILE.crt and
// FILE.key.
func (a *Authority) Client(file, user string, groups ...string) (Pair, error) {
	if user == "" {
		return Pair{}, errNoName
	}
	return a.leaf(file, &x509.Certificate{
		Subject:     pkix.Name{CommonName: user, Organization: groups},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
}

// ServerTLS returns a server's configuration that asks clients for a certificate without
// demanding or verifying one: who presents none may have a token, and who presents a bad
// one must get an answer (401) rather than a broken handshake. The authenticator verifies.
func ServerTLS(p Pair) *tls.Config {
	return &tls.Config{
		Certificates: []tls.Certificate{p.TLS()},
		ClientAuth:   tls.RequestClientCert,
		MinVersion:   tls.VersionTLS12,
		NextProtos:   []string{"h2", "http/1.1"},
	}
}

// checkNode keeps a node's name from leaving the directory.
func checkNode(name string) error {
	if name == "" || strings.ContainsAny(name, "/\\") || strings.HasPrefix(name, ".") {
		return fmt.Errorf("node name %q can't be used in a file name", name)
	}
	return nil
}

func splitHosts(hosts []string) (names []string, ips []net.IP) {
	for _, h := range hosts {
		ip := net.ParseIP(h)
		switch {
		case h == "" || ip != nil && ip.IsUnspecified():
		case ip != nil:
			ips = append(ips, ip)
		default:
			names = append(names, h)
		}
	}
	return names, ips
}

func unique[T any](in []T, key func(T) string) []T {
	seen := make(map[string]bool, len(in))
	out := in[:0:0]
	for _, v := range in {
		if k := key(v); !seen[k] {
			seen[k] = true
			out = append(out, v)
		}
	}
	return out
}
