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

// Admit says whether the server called name may speak Raft. The name is that of its
// certificate, and empty where there is no TLS.
type Admit func(name string) error

// Mux shares a listener. It implements net.Listener for Raft's connections; the others go
// to the function given to Serve.
type Mux struct {
	net.Listener
	name  string
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

// NewMux shares l for the server called name. Connections speak TLS where conf is not nil.
func NewMux(name string, l net.Listener, conf *tls.Config, admit Admit, log *slog.Logger) *Mux {
	return &Mux{
		Listener: l, name: name, tls: conf, admit: admit, log: log,
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
	conn, certified, first, err := m.hello(c)
	var name string
	if err == nil {
		name, err = readName(conn)
	}
	if err == nil {
		err = m.check(first, certified, name)
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
	var b [1]byte
	if _, err := io.ReadFull(conn, b[:]); err != nil {
		return nil, "", 0, err
	}
	return conn, name, b[0], nil
}

// check compares the name that a connection begins with. Messages begin with the name of who
// calls, which a certificate must confirm where there is one. Raft's connections begin with
// the name of who is called: a server that has taken the address of another must not be taken
// for it.
func (m *Mux) check(first byte, certified, name string) error {
	switch {
	case first == forMessages && certified != "" && certified != name:
		return fmt.Errorf("the certificate of %s calls itself %s", certified, name)
	case first == forRaft && name != m.name:
		return fmt.Errorf("%s is called, and this is %s", name, m.name)
	case first == forRaft && m.admit != nil:
		return m.admit(certified)
	}
	return nil
}

func readName(conn net.Conn) (string, error) {
	var n [1]byte
	if _, err := io.ReadFull(conn, n[:]); err != nil {
		return "", err
	}
	name := make([]byte, n[0])
	if _, err := io.ReadFull(conn, name); err != nil {
		return "", err
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

// DialRaft opens a connection that the Mux at address gives to Raft, if it is that of the
// server called name.
func DialRaft(ctx context.Context, address string, conf *tls.Config, name string) (net.Conn, error) {
	return dial(ctx, address, conf, forRaft, name)
}

// maxName is the longest name of a server.
const maxName = 255

// dialMessages opens a connection for messages of the server called name.
func dialMessages(ctx context.Context, address string, conf *tls.Config, name string) (net.Conn, error) {
	return dial(ctx, address, conf, forMessages, name)
}

func dial(ctx context.Context, address string, conf *tls.Config, first byte, name string) (net.Conn, error) {
	if len(name) > maxName {
		return nil, fmt.Errorf("the name of a server has at most %d bytes", maxName)
	}
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
	if _, err := conn.Write(append([]byte{first, byte(len(name))}, name...)); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return conn, conn.SetWriteDeadline(time.Time{})
}
