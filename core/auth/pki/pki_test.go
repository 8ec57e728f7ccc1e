package pki_test

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/pintle-dev/pintle/core/auth/pki"
)

func open(t *testing.T, dir string, now time.Time) *pki.Authority {
	t.Helper()
	a, err := pki.Open(pki.Config{Dir: dir, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	return a
}

func must(t *testing.T) func(pki.Pair, error) pki.Pair {
	return func(p pki.Pair, err error) pki.Pair {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
}

func TestCertificatesAreKeptAndRenewed(t *testing.T) {
	dir, now := t.TempDir(), time.Now()
	server := pki.Server{Hosts: []string{"192.0.2.7", "0.0.0.0", "api.example.com"}, ServiceIP: net.IPv4(10, 96, 0, 1)}
	a := open(t, dir, now)
	first := must(t)(a.Serving(server))
	admin := must(t)(a.Admin())

	for _, host := range []string{"192.0.2.7", "api.example.com", "localhost", "127.0.0.1", "::1", "10.96.0.1",
		"kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"} {
		if err := first.Certificate.VerifyHostname(host); err != nil {
			t.Errorf("serving certificate: %v", err)
		}
	}
	if err := first.Certificate.VerifyHostname("0.0.0.0"); err == nil {
		t.Error("serving certificate is valid for the unspecified address")
	}
	if got := admin.Certificate.Subject; got.CommonName != "kubernetes-admin" || strings.Join(got.Organization, ",") != "system:masters" {
		t.Errorf("admin is %v", got)
	}

	for _, c := range []struct {
		name    string
		after   time.Duration
		server  pki.Server
		renewed bool
	}{
		{"a start later", time.Hour, server, false},
		{"with 31 days left", (365 - 31) * 24 * time.Hour, server, false},
		{"with 29 days left", (365 - 29) * 24 * time.Hour, server, true},
		{"with another address", time.Hour, pki.Server{Hosts: []string{"192.0.2.8"}}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			copied := t.TempDir()
			if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
				t.Fatal(err)
			}
			b := open(t, copied, now.Add(c.after))
			second := must(t)(b.Serving(c.server))
			if renewed := !second.Certificate.Equal(first.Certificate); renewed != c.renewed {
				t.Errorf("renewed: %v, want %v", renewed, c.renewed)
			}
			if _, err := second.Certificate.Verify(x509.VerifyOptions{Roots: a.Pool(), CurrentTime: now.Add(c.after)}); err != nil {
				t.Errorf("not signed by the same authority: %v", err)
			}
		})
	}
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) != 6 {
		t.Errorf("files %v, %v", files, err)
	}
	for _, f := range files {
		if s, err := os.Stat(f); err != nil || s.Mode().Perm() != 0o600 {
			t.Errorf("%s: mode %v, %v", f, s.Mode(), err)
		}
	}
}

func TestDamagedFilesAreNamed(t *testing.T) {
	for _, c := range []struct {
		name   string
		damage func(t *testing.T, dir string)
		want   []string // parts of the error; none means that it heals
	}{
		{"CA key cut short", func(t *testing.T, dir string) { cut(t, dir, "ca.key") }, []string{"ca.key", "damaged"}},
		{"CA certificate cut short", func(t *testing.T, dir string) { cut(t, dir, "ca.crt") }, []string{"ca.crt", "damaged"}},
		{"CA key missing", func(t *testing.T, dir string) { remove(t, dir, "ca.key") }, []string{"ca.key is missing", "ca.crt"}},
		{"CA key of another", func(t *testing.T, dir string) { swap(t, dir, "ca.key", "admin.key") }, []string{"ca.crt", "does not belong", "ca.key"}},
		{"client key missing", func(t *testing.T, dir string) { remove(t, dir, "admin.key") }, []string{"admin.key is missing"}},
		{"client certificate missing", func(t *testing.T, dir string) { remove(t, dir, "admin.crt") }, nil},
		{"client certificate not PEM", func(t *testing.T, dir string) { put(t, dir, "admin.crt", "hello") }, []string{"admin.crt", "no PEM block"}},
		{"client key empty", func(t *testing.T, dir string) { put(t, dir, "admin.key", "") }, []string{"admin.key", "no PEM block"}},
		{"another CA", func(t *testing.T, dir string) { remove(t, dir, "ca.key"); remove(t, dir, "ca.crt") }, []string{"admin.crt", "not signed by the CA"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir, now := t.TempDir(), time.Now()
			must(t)(open(t, dir, now).Admin())
			c.damage(t, dir)
			a, err := pki.Open(pki.Config{Dir: dir})
			if err == nil {
				_, err = a.Admin()
			}
			if len(c.want) == 0 && err != nil {
				t.Fatalf("does not heal: %v", err)
			}
			for _, w := range c.want {
				if err == nil || !strings.Contains(err.Error(), w) {
					t.Errorf("error %v does not say %q", err, w)
				}
			}
		})
	}
}

func cut(t *testing.T, dir, name string) {
	data, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	put(t, dir, name, string(data[:len(data)/2]))
}

func put(t *testing.T, dir, name, data string) {
	if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o600); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, dir, name string) {
	if err := os.Remove(filepath.Join(dir, name)); err != nil {
		t.Fatal(err)
	}
}

func swap(t *testing.T, dir, name, with string) {
	data, err := os.ReadFile(filepath.Join(dir, with))
	if err != nil {
		t.Fatal(err)
	}
	put(t, dir, name, string(data))
}

func TestNodeNamesStayInTheDirectory(t *testing.T) {
	a := open(t, t.TempDir(), time.Now())
	for _, name := range []string{"", "../x", "a/b", ".."} {
		if _, err := a.Node(name); err == nil {
			t.Errorf("node %q was given a certificate", name)
		}
	}
}

// A server with the serving certificate and a client with the kubeconfig understand each
// other.
func TestKubeconfigReachesServer(t *testing.T) {
	dir := t.TempDir()
	a := open(t, dir, time.Now())
	serving := must(t)(a.Serving(pki.Server{}))
	admin := must(t)(a.Admin())
	var seen *tls.ConnectionState
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen = r.TLS }))
	srv.TLS = pki.ServerTLS(serving)
	srv.StartTLS()
	defer srv.Close()
	path := filepath.Join(dir, "admin.kubeconfig")
	for range 2 {
		if err := a.WriteKubeconfig(path, srv.URL, "pintle", "admin", admin); err != nil {
			t.Fatal(err)
		}
	}
	cfg, err := clientcmd.BuildConfigFromFlags("", path)
	if err != nil {
		t.Fatal(err)
	}
	client, err := rest.HTTPClientFor(cfg)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Get(cfg.Host)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if seen == nil || len(seen.PeerCertificates) != 1 || seen.PeerCertificates[0].Subject.CommonName != "kubernetes-admin" {
		t.Errorf("the server saw %+v", seen)
	}
}
