package requestheader

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/pintle-dev/pintle/core/auth"
	"github.com/pintle-dev/pintle/core/auth/internal/cache"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// Config of an Authenticator.
type Config struct {
	// CAs sign the proxies' certificates. They should sign nothing else.
	CAs *x509.CertPool
	// AllowedNames are the common names that a proxy may have; empty allows any.
	AllowedNames []string
	// UsernameHeaders are looked at in turn for the user's name, UIDHeaders for the UID; all
	// GroupHeaders name groups, and headers that begin with one of ExtraPrefixes the rest.
	UsernameHeaders, UIDHeaders, GroupHeaders, ExtraPrefixes []string
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Authenticator authenticates requests that a front proxy forwards.
type Authenticator struct {
	cfg Config
	// verdicts on certificates, by identity: crypto/tls hands out one for all connections
	// that present it.
	verdicts *cache.Cache[*x509.Certificate, error]
}

var _ auth.RequestAuthenticator = (*Authenticator)(nil)

// verdictTTL bounds how long a verdict is believed.
const verdictTTL = 10 * time.Minute

// New returns an Authenticator.
func New(cfg Config) (*Authenticator, error) {
	if cfg.CAs == nil || len(cfg.UsernameHeaders) == 0 {
		return nil, errors.New("request header authentication: a CA and a header for the user's name are needed")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	for _, l := range []*[]string{&cfg.UsernameHeaders, &cfg.UIDHeaders, &cfg.GroupHeaders, &cfg.ExtraPrefixes} {
		canonical := make([]string, 0, len(*l))
		for _, h := range *l {
			canonical = append(canonical, http.CanonicalHeaderKey(strings.TrimSpace(h)))
		}
		*l = canonical
	}
	return &Authenticator{cfg: cfg, verdicts: cache.New[*x509.Certificate, error](256)}, nil
}

// AuthenticateRequest implements auth.RequestAuthenticator. Headers that name a user are taken
// from a request that is believed; who shows no proxy's certificate may send them in vain.
func (a *Authenticator) AuthenticateRequest(r *http.Request) (resource.User, bool, error) {
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return resource.User{}, false, nil
	}
	name := first(r.Header, a.cfg.UsernameHeaders)
	if name == "" {
		return resource.User{}, false, nil
	}
	if err := a.proxy(r.TLS.PeerCertificates); err != nil {
		return resource.User{}, false, err
	}
	user := resource.User{Name: name, UID: first(r.Header, a.cfg.UIDHeaders)}
	for _, h := range a.cfg.GroupHeaders {
		for _, g := range r.Header[h] {
			if g != "" {
				user.Groups = append(user.Groups, g)
			}
		}
	}
	user.Extra = a.extra(r.Header)
	for _, h := range slices.Concat(a.cfg.UsernameHeaders, a.cfg.UIDHeaders, a.cfg.GroupHeaders) {
		delete(r.Header, h)
	}
	return user, true, nil
}

func first(h http.Header, names []string) string {
	for _, n := range names {
		if v := h.Get(n); v != "" {
			return v
		}
	}
	return ""
}

// extra takes the headers with a prefix out of h. Keys are lower case, since header names
// have none.
func (a *Authenticator) extra(h http.Header) map[string][]string {
	var out map[string][]string
	for _, prefix := range a.cfg.ExtraPrefixes {
		for name, values := range h {
			if len(name) <= len(prefix) || !strings.EqualFold(name[:len(prefix)], prefix) {
				continue
			}
			key := strings.ToLower(name[len(prefix):])
			if unescaped, err := url.PathUnescape(key); err == nil {
				key = unescaped
			}
			if out == nil {
				out = map[string][]string{}
			}
			out[key] = append(out[key], values...)
			delete(h, name)
		}
	}
	return out
}

// proxy verifies that the chain is a front proxy's.
func (a *Authenticator) proxy(chain []*x509.Certificate) error {
	leaf, now := chain[0], a.cfg.Now()
	if err, ok := a.verdicts.Get(leaf, now); ok {
		return err
	}
	opts := x509.VerifyOptions{Roots: a.cfg.CAs, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	if len(chain) > 1 {
		opts.Intermediates = x509.NewCertPool()
		for _, c := range chain[1:] {
			opts.Intermediates.AddCert(c)
		}
	}
	until := now.Add(verdictTTL)
	chains, err := leaf.Verify(opts)
	switch {
	case err != nil:
		err = fmt.Errorf("front proxy %q: %w", leaf.Subject.CommonName, err)
	case len(a.cfg.AllowedNames) > 0 && !slices.Contains(a.cfg.AllowedNames, leaf.Subject.CommonName):
		err = fmt.Errorf("x509: subject with cn=%s is not in the allowed list", leaf.Subject.CommonName)
	default:
		for _, c := range chains[0] {
			if c.NotAfter.Before(until) {
				until = c.NotAfter
			}
		}
	}
	a.verdicts.Put(leaf, err, until)
	return err
}
