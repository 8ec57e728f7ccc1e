package peer

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"
)

// The first byte of a connection says whose it is.
const (
	forRaft     = 'R'
	forMessages = 'M'
)

// helloTimeout bounds the TLS handshake and the first byte.
const helloTimeout = 10 * time.Second

// unackedTimeout is how long the other side's kernel may leave what was sent without an
// answer before the connection is given up.
const unackedTimeout = 5 * time.Second

// Admit says whether the server called name may connect. The name is that of its
// certificate, and empty where there is no TLS.
type Admit func(name string) error

// Mux shares a listener. It implements net.Listener for Raft's connections; the others go
// to the function given to Serve.
type Mux struct {
	net.Listener
	tls   *tls.Config
	admit Admit
	log   *slog.Logger

	raft   chan net.Conn
	closed chan struct{}
	once   sync.Once
	wg     sync.WaitGroup

	mu    sync.Mutex
	conns map[net.Conn]struct{}
}

// NewMux shares l, whose connections speak TLS where conf is not nil.
func NewMux(l net.Listener, conf *tls.Config, admit Admit, log *slog.Logger) *Mux {
	return &Mux{
		Listener: l, tls: conf, admit: admit, log: log,
		raft: make(chan net.Conn), closed: make(chan struct{}), conns: map[net.Conn]struct{}{},
	}
}

// Serve accepts connections until Close; messages are handled by handle.
func (m *Mux) Serve(handle Handler) {
	m.wg.Add(1)
	go func() {
		defer m.wg.Done()
		for {
			c, err := m.Listener.Accept()
			if err != nil {
				if errors.Is(err, net.ErrClosed) {
					return
				}
				m.log.Warn("Accepting a connection of another server", "error", err)
				select {
				case <-time.After(100 * time.Millisecond):
				case <-m.closed:
					return
				}
				continue
			}
			m.wg.Go(func() { m.greet(c, handle) })
		}
	}()
}

// greet finds out who calls and why.
func (m *Mux) greet(c net.Conn, handle Handler) {
	if !m.keep(c) {
		return
	}
	defer m.drop(c)
	tune(c)
	conn, name, first, err := m.hello(c)
	if err == nil && first == forMessages {
		name, err = readName(conn, name)
	}
	if err != nil {
		if !errors.Is(err, io.EOF) {
			m.log.Debug("Refused a connection", "from", c.RemoteAddr(), "error", err)
		}
		_ = c.Close()
		return
	}
	switch first {
	case forRaft:
		select {
		case m.raft <- conn:
		case <-m.closed:
			_ = conn.Close()
		}
	case forMessages:
		serve(conn, name, handle)
	default:
		m.log.Warn("A connection speaks an unknown protocol", "from", c.RemoteAddr(), "first", first)
		_ = conn.Close()
	}
}

func (m *Mux) hello(c net.Conn) (conn net.Conn, name string, first byte, err error) {
	if err := c.SetDeadline(time.Now().Add(helloTimeout)); err != nil {
		return nil, "", 0, err
	}
	conn = c
	if m.tls != nil {
		t := tls.Server(c, m.tls)
		if err := t.HandshakeContext(context.Background()); err != nil { // the deadline bounds it
			return nil, "", 0, err
		}
		if certs := t.ConnectionState().PeerCertificates; len(certs) > 0 {
			name = certs[0].Subject.CommonName
		}
		conn = t
	}
	if m.admit != nil {
		if err := m.admit(name); err != nil {
			return nil, "", 0, err
		}
	}
	var b [1]byte
	if _, err := io.ReadFull(conn, b[:]); err != nil {
		return nil, "", 0, err
	}
	if b[0] == forMessages {
		return conn, name, b[0], nil // the name comes before the deadline too
	}
	return conn, name, b[0], conn.SetDeadline(time.Time{})
}

// readName reads who calls, which a certificate must confirm where there is one.
func readName(conn net.Conn, certified string) (string, error) {
	var n [1]byte
	if _, err := io.ReadFull(conn, n[:]); err != nil {
		return "", err
	}
	name := make([]byte, n[0])
	if _, err := io.ReadFull(conn, name); err != nil {
		return "", err
	}
	if certified != "" && certified != string(name) {
		return "", fmt.Errorf("the certificate of %s calls itself %s", certified, name)
	}
	return string(name), conn.SetDeadline(time.Time{})
}

// keep remembers a connection whose handshake or messages Close must end.
func (m *Mux) keep(c net.Conn) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	select {
	case <-m.closed:
		_ = c.Close()
		return false
	default:
		m.conns[c] = struct{}{}
		return true
	}
}

func (m *Mux) drop(c net.Conn) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.conns, c)
}

// Accept returns Raft's next connection.
func (m *Mux) Accept() (net.Conn, error) {
	select {
	case c := <-m.raft:
		return c, nil
	case <-m.closed:
		return nil, net.ErrClosed
	}
}

// Close stops listening and ends the connections for messages; those of Raft are Raft's.
func (m *Mux) Close() error {
	var err error
	m.once.Do(func() {
		err = m.Listener.Close()
		m.mu.Lock()
		close(m.closed)
		for c := range m.conns {
			_ = c.Close()
		}
		m.mu.Unlock()
		m.wg.Wait()
	})
	return err
}

// DialRaft opens a connection that the Mux at address gives to Raft.
func DialRaft(ctx context.Context, address string, conf *tls.Config) (net.Conn, error) {
	return dial(ctx, address, conf, []byte{forRaft})
}

// maxName is the longest name of a server.
const maxName = 255

// dialMessages opens a connection for messages of the server called name.
func dialMessages(ctx context.Context, address string, conf *tls.Config, name string) (net.Conn, error) {
	if len(name) > maxName {
		return nil, fmt.Errorf("the name of a server has at most %d bytes", maxName)
	}
	return dial(ctx, address, conf, append([]byte{forMessages, byte(len(name))}, name...))
}

func dial(ctx context.Context, address string, conf *tls.Config, first []byte) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, helloTimeout)
	defer cancel()
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	tune(c)
	conn := c
	if conf != nil {
		t := tls.Client(c, conf)
		if err := t.HandshakeContext(ctx); err != nil {
			_ = c.Close()
			return nil, fmt.Errorf("TLS with %s: %w", address, err)
		}
		conn = t
	}
	if deadline, ok := ctx.Deadline(); ok {
		_ = conn.SetWriteDeadline(deadline)
	}
	if _, err := conn.Write(first); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return conn, conn.SetWriteDeadline(time.Time{})
}
