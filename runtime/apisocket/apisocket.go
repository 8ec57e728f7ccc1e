package apisocket

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/netutil"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// Bounds of what callers may hold of the process that serves them.
const (
	maxConnections    = 1024
	maxRequests       = 256 // of one token at the same time, watches among them
	readHeaderTimeout = 10 * time.Second
	closeTimeout      = time.Second
)

// Socket serves the API of a cluster to those who have been let in.
type Socket struct {
	path   string
	server *url.URL
	log    *slog.Logger
	listen net.Listener

	mu    sync.Mutex
	known map[string]*caller // by token
}

// caller is who may use the socket with one token.
type caller struct {
	proxy    *httputil.ReverseProxy
	idle     func()
	requests atomic.Int64
	ctx      context.Context //nolint:containedctx // ends what it has under way when it is shown out
	leave    context.CancelFunc
}

// Listen makes the socket; what an earlier process has left at the path is removed. server is
// the base URL of the API.
func Listen(path, server string, log *slog.Logger) (*Socket, error) {
	to, err := url.Parse(server)
	if err != nil {
		return nil, fmt.Errorf("socket of the API: %w", err)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("socket of the API: %w", err)
	}
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, fmt.Errorf("socket of the API: %w", err)
	}
	return &Socket{path: path, server: to, log: log, listen: netutil.LimitListener(l, maxConnections), known: map[string]*caller{}}, nil
}

// Path of the socket.
func (s *Socket) Path() string { return s.path }

// Admit lets somebody in, for whom via speaks to the servers. It returns the token to come
// with, and what shows them out again.
func (s *Socket) Admit(via http.RoundTripper) (token string, leave func()) {
	secret := make([]byte, 32)
	_, _ = rand.Read(secret) // never fails
	token = base64.RawURLEncoding.EncodeToString(secret)
	c := &caller{idle: func() {}}
	c.ctx, c.leave = context.WithCancel(context.Background())
	if t, ok := via.(interface{ CloseIdleConnections() }); ok {
		c.idle = t.CloseIdleConnections
	}
	c.proxy = &httputil.ReverseProxy{
		Transport: via, FlushInterval: -1,
		ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(s.server)
			r.Out.Header.Del("Authorization") // it says something here only
		},
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			if r.Context().Err() == nil {
				refuse(w, apierrors.NewServiceUnavailable("no server of the cluster answers: "+err.Error()))
			}
		},
	}
	s.mu.Lock()
	s.known[token] = c
	s.mu.Unlock()
	return token, func() {
		s.mu.Lock()
		delete(s.known, token)
		s.mu.Unlock()
		c.leave()
		c.idle()
	}
}

// Serve serves until ctx is done.
func (s *Socket) Serve(ctx context.Context) error {
	server := &http.Server{
		Handler: s, ReadHeaderTimeout: readHeaderTimeout,
		ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	stop := context.AfterFunc(ctx, func() {
		last, done := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
		defer done()
		if server.Shutdown(last) != nil {
			_ = server.Close() // those who do not leave
		}
	})
	defer stop()
	if err := server.Serve(s.listen); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("socket of the API: %w", err)
	}
	return nil
}

// ServeHTTP implements http.Handler.
func (s *Socket) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	s.mu.Lock()
	c := s.known[token]
	s.mu.Unlock()
	if !ok || c == nil {
		refuse(w, apierrors.NewUnauthorized("the token is not known on this node"))
		return
	}
	if c.requests.Add(1) > maxRequests {
		c.requests.Add(-1)
		refuse(w, apierrors.NewTooManyRequests(fmt.Sprintf("%d requests are under way already", maxRequests), 1))
		return
	}
	defer c.requests.Add(-1)
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(c.ctx, cancel)()
	c.proxy.ServeHTTP(w, r.WithContext(ctx))
}

// refuse answers with an error as the API does.
func refuse(w http.ResponseWriter, err *apierrors.StatusError) {
	status := err.Status()
	status.Kind, status.APIVersion = "Status", "v1"
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(int(status.Code))
	_ = json.NewEncoder(w).Encode(status) // the client has left, at the worst
}
