package cluster_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pintle-dev/pintle/core/auth/pki"
	"github.com/pintle-dev/pintle/core/cluster"
	"github.com/pintle-dev/pintle/core/store"
)

var settings = cluster.Settings{ServiceCIDR: "10.96.0.0/16", ClusterDomain: "cluster.local"}

// server is one of a cluster's, in this process: store, membership and the endpoints over TLS.
type server struct {
	*cluster.Cluster
	id    cluster.Identity
	dir   string
	store *store.Store
	http  *httptest.Server
	stop  func()
}

func logger() *slog.Logger {
	if os.Getenv("PINTLE_TEST_LOG") != "" {
		return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	return slog.New(slog.DiscardHandler)
}

func authority(t *testing.T, dir string) *pki.Authority {
	t.Helper()
	a, err := pki.Open(pki.Config{Dir: dir, Logger: logger()})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// founder is the first server of a cluster.
func founder(t *testing.T) *server {
	t.Helper()
	id, err := cluster.NewIdentity("first")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	a := authority(t, dir)
	if _, err := a.FrontProxy(); err != nil {
		t.Fatal(err)
	}
	return start(t, id, dir, "127.0.0.1:0")
}

func start(t *testing.T, id cluster.Identity, dir, address string) *server {
	t.Helper()
	s := &server{id: id, dir: dir}
	a := authority(t, dir)
	peerTLS, err := cluster.PeerTLS(filepath.Join(dir, cluster.PeerDir), id.ID, logger())
	if err != nil {
		t.Fatal(err)
	}
	s.Cluster = cluster.New(cluster.Config{Identity: id, Dir: dir, API: []string{"https://" + id.Name + ":6443"}, Version: "v1", Settings: settings, Logger: logger()})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	s.store, err = store.Open(ctx, store.Config{
		Dir: t.TempDir(), NodeID: id.ID, Address: address, PeerTLS: peerTLS, Bootstrap: len(id.Peers) == 0,
		Asked: s.Answer, MinFreeBytes: 1 << 20, HeartbeatTimeout: 300 * time.Millisecond, Logger: logger(),
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Bind(s.store)
	s.serve(t, a)
	run, end := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(run) }()
	var stopped bool
	s.stop = func() {
		if stopped {
			return
		}
		stopped = true
		end()
		if err := errors.Join(<-done, s.store.Close()); err != nil {
			t.Error(err)
		}
		s.http.Close()
	}
	t.Cleanup(s.stop)
	if err := s.Join(ctx); err != nil {
		t.Fatal(err)
	}
	return s
}

// serve serves the endpoints as the API server does: join tokens are good for joining only.
func (s *server) serve(t *testing.T, a *pki.Authority) {
	t.Helper()
	pair, err := a.Serving(pki.Server{Hosts: []string{"127.0.0.1"}})
	if err != nil {
		t.Fatal(err)
	}
	tokens := cluster.NewTokenAuthenticator(s.store)
	mux := http.NewServeMux()
	for path, h := range s.Handlers() {
		mux.Handle(path, h)
	}
	s.http = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == cluster.JoinPath {
			_, ok, err := tokens.AuthenticateToken(r.Context(), strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "), nil)
			if !ok || err != nil {
				http.Error(w, "Unauthorized", http.StatusUnauthorized)
				return
			}
		}
		mux.ServeHTTP(w, r)
	}))
	s.http.TLS = pki.ServerTLS(pair)
	cluster.ServeJoin(s.http.TLS, pair.TLS(), a.CA())
	s.http.StartTLS()
}

func (s *server) token(t *testing.T, life time.Duration) cluster.Token {
	t.Helper()
	token, _, err := cluster.MakeToken(t.Context(), s.store, authority(t, s.dir).CA(), life)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// join gets the cluster's keys for a new server.
func (s *server) join(t *testing.T, name, token string) (cluster.Identity, string, error) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "pki")
	id, err := cluster.Join(t.Context(), cluster.JoinConfig{URL: s.http.URL, Token: token, Name: name, Settings: settings, Dir: dir})
	return id, dir, err
}

// add starts a new server of the cluster.
func (s *server) add(t *testing.T, name string) *server {
	t.Helper()
	id, dir, err := s.join(t, name, s.token(t, time.Hour).String())
	if err != nil {
		t.Fatal(err)
	}
	return start(t, id, dir, "127.0.0.1:0")
}

// eventually waits until the leader's list of servers is as wanted.
func (s *server) eventually(t *testing.T, what string, ok func([]cluster.Server) bool) []cluster.Server {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		list, err := s.List(t.Context())
		if err == nil && ok(list.Servers) {
			return list.Servers
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %+v, %v", what, list, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func roles(servers []cluster.Server) map[string]string {
	out := map[string]string{}
	for _, s := range servers {
		out[s.Name] = s.Role
	}
	return out
}

func voters(n int) func([]cluster.Server) bool {
	return func(servers []cluster.Server) bool {
		have := 0
		for _, s := range servers {
			if s.Role != cluster.RoleLearner && s.Healthy {
				have++
			}
		}
		return have == n && len(servers) == n
	}
}

// call uses the endpoints that do not check who asks here.
func (s *server) call(t *testing.T, method, path, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, s.http.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: authority(t, s.dir).Pool(), MinVersion: tls.VersionTLS12}}}
	defer client.CloseIdleConnections()
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}
