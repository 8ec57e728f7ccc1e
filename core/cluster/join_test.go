package cluster_test

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pintle-dev/pintle/core/cluster"
)

func TestJoinNeedsAGoodToken(t *testing.T) {
	s := founder(t)
	good := s.token(t, time.Hour)
	expired := s.token(t, time.Nanosecond)
	other := founder(t).token(t, time.Hour)
	wrongSecret, wrongCA, unknown := good, good, good
	wrongSecret.Secret = strings.Repeat("A", len(good.Secret))
	wrongCA.CAHash = other.CAHash
	unknown.ID = "abcdefghij"
	for _, c := range []struct{ name, token, want string }{
		{"nothing", "", "no join token"},
		{"nonsense", "pintle-join.a.b", "no join token"},
		{"expired", expired.String(), "no longer"},
		{"wrong secret", wrongSecret.String(), "no longer"},
		{"unknown", unknown.String(), "no longer"},
		{"another cluster's", other.String(), "does not belong to the cluster"},
		{"wrong hash", wrongCA.String(), "does not belong to the cluster"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, dir, err := s.join(t, "second", c.token)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("error %v, want %q in it", err, c.want)
			}
			if _, err := os.Stat(dir); err == nil {
				t.Fatal("a server that was not let in has left files")
			}
		})
	}
	id, dir, err := s.join(t, "second", good.String())
	if err != nil {
		t.Fatal(err)
	}
	if id.Name != "second" || !strings.HasPrefix(id.ID, "second-") || len(id.Peers) != 1 || id.Peers[0] != s.store.Address() {
		t.Fatalf("identity %+v", id)
	}
	for _, name := range []string{"ca.key", "front-proxy-ca.key", "peer/ca.key"} {
		fi, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if fi.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %s", name, fi.Mode())
		}
		a, err1 := os.ReadFile(filepath.Join(dir, name))
		b, err2 := os.ReadFile(filepath.Join(s.dir, name))
		if err1 != nil || err2 != nil || string(a) != string(b) {
			t.Errorf("%s differs", name)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "apiserver.key")); err == nil {
		t.Error("the server's own key was handed over")
	}
}

// Who can show any certificate of the cluster's authority is not an API server.
func TestJoinTalksWithAPIServersOnly(t *testing.T) {
	s := founder(t)
	a := authority(t, s.dir)
	node, err := a.NodeServing("node-1", "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	var asked bool
	fake := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked = true }))
	fake.TLS = &tls.Config{Certificates: []tls.Certificate{node.TLS()}, MinVersion: tls.VersionTLS12}
	cluster.ServeJoin(fake.TLS, node.TLS(), a.CA())
	fake.StartTLS()
	defer fake.Close()
	_, err = cluster.Join(t.Context(), cluster.JoinConfig{
		URL: fake.URL, Token: s.token(t, time.Hour).String(), Name: "second", Settings: settings, Dir: filepath.Join(t.TempDir(), "pki"),
	})
	if err == nil || !strings.Contains(err.Error(), "no API server") || asked {
		t.Fatalf("error %v, asked %v", err, asked)
	}
}

func TestJoinChecksTheSettings(t *testing.T) {
	s := founder(t)
	_, err := cluster.Join(t.Context(), cluster.JoinConfig{
		URL: s.http.URL, Token: s.token(t, time.Hour).String(), Name: "second", Dir: filepath.Join(t.TempDir(), "pki"),
		Settings: cluster.Settings{ServiceCIDR: "10.0.0.0/16", ClusterDomain: "cluster.local"},
	})
	if err == nil || !strings.Contains(err.Error(), "api.serviceCIDR 10.96.0.0/16") {
		t.Fatalf("error %v", err)
	}
}

func TestAKeyOutsideTheListIsNotWritten(t *testing.T) {
	s := founder(t)
	pair, err := authority(t, s.dir).Serving(servingHosts())
	if err != nil {
		t.Fatal(err)
	}
	evil := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"peers":["127.0.0.1:1"],"files":{"../../escaped":"aGk="}}`))
	}))
	evil.TLS = &tls.Config{Certificates: []tls.Certificate{pair.TLS()}, MinVersion: tls.VersionTLS12}
	cluster.ServeJoin(evil.TLS, pair.TLS(), authority(t, s.dir).CA())
	evil.StartTLS()
	defer evil.Close()
	_, err = cluster.Join(t.Context(), cluster.JoinConfig{
		URL: evil.URL, Token: s.token(t, time.Hour).String(), Name: "second", Settings: settings, Dir: filepath.Join(t.TempDir(), "a", "pki"),
	})
	if err == nil || !strings.Contains(err.Error(), "none of the cluster's keys") {
		t.Fatalf("error %v", err)
	}
}

func TestAnIdentityIsKept(t *testing.T) {
	file := filepath.Join(t.TempDir(), "server.json")
	if _, ok, err := cluster.LoadIdentity(file, ""); ok || err != nil {
		t.Fatalf("without a file: %v, %v", ok, err)
	}
	id, err := cluster.NewIdentity("a")
	if err != nil {
		t.Fatal(err)
	}
	if err := id.Save(file); err != nil {
		t.Fatal(err)
	}
	if got, ok, err := cluster.LoadIdentity(file, "a"); !ok || err != nil || got.ID != id.ID {
		t.Fatalf("%+v, %v, %v", got, ok, err)
	}
	if _, _, err := cluster.LoadIdentity(file, "b"); err == nil || !strings.Contains(err.Error(), "keeps its name") {
		t.Fatalf("another name: %v", err)
	}
	if err := os.WriteFile(file, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := cluster.LoadIdentity(file, ""); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Fatalf("a damaged file: %v", err)
	}
	again, err := cluster.NewIdentity("a")
	if err != nil || again.ID == id.ID {
		t.Fatalf("a second server of the same name is the same: %v, %v", again, err)
	}
}
