package apiservice

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"runtime/debug"
	"sync"
	"time"
)

// Server serves a handler on connections within the process. It is what stands between the host's
// end and a plugin, in both placements.
type Server struct {
	http   *http.Server
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
	served chan struct{}
}

// headTimeout bounds the reading of a request's head. The host writes it at once.
const headTimeout = 30 * time.Second

// NewServer serves until Close. Requests get the user that the host names in X-Remote headers.
func NewServer(h http.Handler) *Server {
	s := &Server{
		http:  &http.Server{Handler: identified(deadly(h)), ReadHeaderTimeout: headTimeout},
		conns: make(chan net.Conn), closed: make(chan struct{}), served: make(chan struct{}),
	}
	go func() {
		defer close(s.served)
		_ = s.http.Serve(listener{s})
	}()
	return s
}

// Dial returns the client's end of a new connection.
func (s *Server) Dial(ctx context.Context) (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case s.conns <- far:
		return near, nil
	case <-s.closed:
		return nil, errClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Close ends all connections.
func (s *Server) Close() {
	s.once.Do(func() { close(s.closed) })
	_ = s.http.Close()
	<-s.served
}

var errClosed = errors.New("the API service is closed")

// listener gives the server its connections.
type listener struct{ s *Server }

func (l listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.s.conns:
		return c, nil
	case <-l.s.closed:
		return nil, net.ErrClosed
	}
}

func (l listener) Close() error {
	l.s.once.Do(func() { close(l.s.closed) })
	return nil
}

func (listener) Addr() net.Addr { return &net.UnixAddr{Name: "host", Net: "unix"} }

// deadly lets a panic end the process, as it does everywhere in a plugin: the HTTP server would
// go on with whatever state it left.
func deadly(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			e := recover()
			if e == nil {
				return
			}
			if err, ok := e.(error); ok && errors.Is(err, http.ErrAbortHandler) {
				panic(http.ErrAbortHandler)
			}
			text := fmt.Sprintf("%v while serving %s %s\n%s", e, r.Method, r.URL.Path, debug.Stack())
			go panic(text) // nobody recovers from this one
			select {}
		}()
		next.ServeHTTP(w, r)
	})
}
