package config

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
)

// Cluster says how this server and the others of its cluster find each other.
type Cluster struct {
	// Listen is the "address:port" for the other servers: replication and forwarded requests,
	// over TLS under an authority of its own. Empty: this server stays alone.
	Listen string `json:"listen"`
	// Advertise is the "host:port" at which the others reach Listen; Listen where empty.
	Advertise string `json:"advertise"`
	// Join is the URL of the API of any server of the cluster. It matters at the first start
	// only, with an empty data directory; without it a server founds a cluster.
	Join string `json:"join"`
	// Token lets this server join; TokenFile is a file with it. `pintle server token` makes one.
	Token     string `json:"token"`
	TokenFile string `json:"tokenFile"`
	// Learner: this server follows and serves, but has no vote and never leads.
	Learner bool `json:"learner"`
}

// JoinToken is Token, or what TokenFile holds.
func (c Cluster) JoinToken() (string, error) {
	if c.TokenFile == "" {
		return c.Token, nil
	}
	b, err := os.ReadFile(c.TokenFile)
	if err != nil {
		return "", fmt.Errorf("cluster.tokenFile: %w", err)
	}
	return strings.TrimSpace(string(b)), nil
}

func (c *Config) validateCluster() error {
	if c.Name != "" {
		if msgs := validation.IsDNS1123Subdomain(c.Name); len(msgs) > 0 {
			return fmt.Errorf("name: %q: %s", c.Name, msgs[0])
		}
	}
	k := c.Cluster
	for _, a := range []struct{ key, value string }{{"listen", k.Listen}, {"advertise", k.Advertise}} {
		if a.value == "" {
			continue
		}
		if _, port, err := net.SplitHostPort(a.value); err != nil || port == "" {
			return fmt.Errorf("cluster.%s: %q is not address:port", a.key, a.value)
		}
	}
	if host, _, err := net.SplitHostPort(k.Listen); err == nil && k.Advertise == "" {
		if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
			return fmt.Errorf("cluster.advertise: is required where cluster.listen (%s) names no address that the other servers can reach", k.Listen)
		}
	}
	if k.Listen == "" && (k.Advertise != "" || k.Join != "" || k.Learner) {
		return errors.New("cluster.listen: is required where a server takes part in a cluster")
	}
	if k.Token != "" && k.TokenFile != "" {
		return errors.New("cluster.token and cluster.tokenFile: only one of them may be set")
	}
	if k.Join != "" {
		if u, err := url.Parse(k.Join); err != nil || u.Scheme != "https" || u.Host == "" {
			return fmt.Errorf("cluster.join: %q is not a URL such as https://10.0.0.1:6443", k.Join)
		}
	}
	return nil
}
