package cluster

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	// JoinPath is where servers ask to join.
	JoinPath = "/cluster/v1/join"
	// JoinHost is the TLS server name under which a server shows its authority too, so that
	// one that joins can compare it with its token.
	JoinHost = "join.pintle.internal"

	// apiName is in every API server's certificate, and in nobody else's.
	apiName    = "kubernetes.default.svc"
	apiSubject = "kube-apiserver"

	joinTimeout   = 20 * time.Second
	maxJoinAnswer = 4 << 20
)

// Settings are those in which all servers of a cluster must agree.
type Settings struct {
	ServiceCIDR   string `json:"serviceCIDR"`
	ClusterDomain string `json:"clusterDomain"`
}

type joinRequest struct {
	Name     string   `json:"name"`
	Settings Settings `json:"settings"`
}

type joinAnswer struct {
	// Files of the certificate directory that all servers share.
	Files map[string][]byte `json:"files"`
	// Peers are the addresses of the servers for each other.
	Peers []string `json:"peers"`
}

// JoinConfig is what a new server needs to join.
type JoinConfig struct {
	// URL of the API of any server of the cluster, and the token that lets in.
	URL, Token string
	// Name of the new server.
	Name     string
	Settings Settings
	// Dir is the certificate directory, which is replaced.
	Dir string
}

// Join gets the cluster's keys, over a connection to a server whose authority is the one in
// the token, and returns the identity of the new server. The server is no member yet: that
// is for Run, when its store listens.
func Join(ctx context.Context, cfg JoinConfig) (Identity, error) {
	id, err := NewIdentity(cfg.Name)
	if err != nil {
		return Identity{}, fmt.Errorf("name: %w", err)
	}
	token, err := ParseToken(cfg.Token)
	if err != nil {
		return Identity{}, fmt.Errorf("cluster.token: %w", err)
	}
	u, err := url.Parse(cfg.URL)
	if err != nil || u.Scheme != "https" || u.Host == "" {
		return Identity{}, fmt.Errorf("cluster.join: %q is not a URL such as https://10.0.0.1:6443", cfg.URL)
	}
	answer, err := askToJoin(ctx, u, token, joinRequest{Name: cfg.Name, Settings: cfg.Settings})
	if err != nil {
		return Identity{}, fmt.Errorf("joining by %s: %w", cfg.URL, err)
	}
	if len(answer.Peers) == 0 {
		return Identity{}, fmt.Errorf("joining by %s: the server knows no address of the others", cfg.URL)
	}
	if err := cleanLeft(cfg.Dir); err != nil {
		return Identity{}, err
	}
	if err := writeSecrets(cfg.Dir, answer.Files); err != nil {
		return Identity{}, fmt.Errorf("keeping the cluster's keys: %w", err)
	}
	id.Peers = answer.Peers
	return id, nil
}

func askToJoin(ctx context.Context, u *url.URL, token Token, body joinRequest) (joinAnswer, error) {
	ctx, cancel := context.WithTimeout(ctx, joinTimeout)
	defer cancel()
	raw, err := json.Marshal(body)
	if err != nil {
		return joinAnswer{}, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.JoinPath(JoinPath).String(), bytes.NewReader(raw))
	if err != nil {
		return joinAnswer{}, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+token.bearer())
	transport := &http.Transport{TLSClientConfig: joinTLS(token.CAHash)}
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return joinAnswer{}, err
	}
	defer resp.Body.Close()
	raw, err = io.ReadAll(io.LimitReader(resp.Body, maxJoinAnswer))
	if err != nil {
		return joinAnswer{}, err
	}
	if resp.StatusCode != http.StatusOK {
		var status struct {
			Message string `json:"message"`
		}
		if json.Unmarshal(raw, &status) != nil || status.Message == "" {
			status.Message = strings.TrimSpace(string(raw))
		}
		if resp.StatusCode == http.StatusUnauthorized {
			return joinAnswer{}, fmt.Errorf("the token is not (or no longer) good; `pintle server token` makes a new one (%s)", status.Message)
		}
		return joinAnswer{}, fmt.Errorf("%s: %s", resp.Status, status.Message)
	}
	var answer joinAnswer
	if err := json.Unmarshal(raw, &answer); err != nil {
		return joinAnswer{}, fmt.Errorf("answer: %w", err)
	}
	return answer, nil
}

// joinTLS trusts the authority whose public key has the hash, and of what it has signed only
// an API server.
func joinTLS(hash string) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		ServerName: JoinHost,
		// Verified below, by what a joining server knows: it has no authority to trust yet.
		InsecureSkipVerify: true, //nolint:gosec // see VerifyConnection
		VerifyConnection: func(c tls.ConnectionState) error {
			if len(c.PeerCertificates) == 0 {
				return errors.New("the server shows no certificate")
			}
			roots := x509.NewCertPool()
			found := false
			for _, cert := range c.PeerCertificates[1:] {
				if cert.IsCA && CAHash(cert) == hash {
					roots.AddCert(cert)
					found = true
				}
			}
			if !found {
				return errors.New("the server does not belong to the cluster that the token is for: its authority is another one")
			}
			leaf := c.PeerCertificates[0]
			if leaf.Subject.CommonName != apiSubject {
				return fmt.Errorf("the server's certificate is that of %q, which is no API server", leaf.Subject.CommonName)
			}
			if _, err := leaf.Verify(x509.VerifyOptions{
				Roots: roots, DNSName: apiName, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
			}); err != nil {
				return fmt.Errorf("the server's certificate: %w", err)
			}
			return nil
		},
	}
}

// ServeJoin lets a server's TLS configuration show ca beside its certificate to those who
// join; nobody else pays for the bytes.
func ServeJoin(conf *tls.Config, leaf tls.Certificate, ca *x509.Certificate) {
	withCA := leaf
	withCA.Certificate = append(append([][]byte(nil), leaf.Certificate...), ca.Raw)
	conf.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if hello.ServerName != JoinHost {
			return nil, nil
		}
		own := conf.Clone()
		own.GetConfigForClient = nil
		own.Certificates = []tls.Certificate{withCA}
		return own, nil
	}
}
