package host

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/pintle-dev/pintle/sdk/plugin"
	"github.com/pintle-dev/pintle/sdk/points"
	"github.com/pintle-dev/pintle/sdk/protocol"
	"github.com/pintle-dev/pintle/sdk/serve"
)

// localConn serves a plugin that is linked into the host to other plugins, over a connection
// within the process. It is made when the first call comes.
type localConn struct {
	impl   plugin.Plugin
	points []plugin.Point
	log    *slog.Logger

	mu     sync.Mutex
	closed bool
	conn   *grpc.ClientConn
	server *grpc.Server
}

func newLocalConn(impl plugin.Plugin, log *slog.Logger) *localConn {
	return &localConn{impl: impl, points: points.Of(impl), log: log}
}

func (l *localConn) open() (grpc.ClientConnInterface, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, errors.New("it was stopped")
	}
	if l.conn != nil {
		return l.conn, nil
	}
	pipes := &pipeListener{conns: make(chan net.Conn), done: make(chan struct{})}
	conn, err := grpc.NewClient("passthrough:linked-in",
		grpc.WithContextDialer(pipes.dial), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(
			grpc.MaxCallRecvMsgSize(protocol.MaxMessageBytes), grpc.MaxCallSendMsgSize(protocol.MaxMessageBytes),
		))
	if err != nil {
		return nil, err
	}
	l.conn, l.server = conn, grpc.NewServer(serve.ServerOptions()...)
	serve.Register(l.server, l.impl, l.points, l.log)
	go func() { _ = l.server.Serve(pipes) }() // ends with Stop
	return conn, nil
}

func (l *localConn) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	if l.conn != nil {
		_ = l.conn.Close()
		l.server.Stop()
	}
}

// pipeListener accepts connections that are made by its own dial.
type pipeListener struct {
	conns chan net.Conn
	once  sync.Once
	done  chan struct{}
}

func (p *pipeListener) dial(ctx context.Context, _ string) (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case p.conns <- far:
		return near, nil
	case <-p.done:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Accept implements net.Listener.
func (p *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (p *pipeListener) Close() error {
	p.once.Do(func() { close(p.done) })
	return nil
}

// Addr implements net.Listener.
func (p *pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "linked-in", Net: "unix"} }
