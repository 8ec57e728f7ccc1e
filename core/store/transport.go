package store

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/hashicorp/raft"
)

const (
	peerConnections = 3
	peerTimeout     = 10 * time.Second
)

// newTransport makes the way to the other voters: TCP where an address is given, and one
// that stays in this process otherwise.
func newTransport(cfg Config) (raft.Transport, error) {
	if cfg.Transport != nil {
		return cfg.Transport, nil
	}
	if cfg.Address == "" {
		addr, t := raft.NewInmemTransport(raft.ServerAddress(cfg.NodeID))
		t.Connect(addr, t)
		return t, nil
	}
	listener, err := net.Listen("tcp", cfg.Address) //nolint:noctx // an address of this machine: there is nothing to wait for
	if err != nil {
		return nil, fmt.Errorf("store: listening for peers: %w", err)
	}
	layer := &streamLayer{Listener: listener, tls: cfg.PeerTLS, advertise: listener.Addr()}
	if cfg.Advertise != cfg.Address {
		layer.advertise = namedAddr(cfg.Advertise)
	} else if tcp, ok := listener.Addr().(*net.TCPAddr); !ok || tcp.IP.IsUnspecified() {
		return nil, errors.Join(fmt.Errorf("store: Address %s can't be reached by peers: set Advertise", cfg.Address), listener.Close())
	}
	if cfg.PeerTLS != nil {
		layer.Listener = tls.NewListener(listener, cfg.PeerTLS)
	}
	return raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		Stream:  layer,
		MaxPool: peerConnections,
		Timeout: peerTimeout,
		Logger:  raftLogger(cfg.Logger),
	}), nil
}

// closeTransport closes what newTransport made.
func closeTransport(cfg Config, t raft.Transport) error {
	if cfg.Transport != nil {
		return nil
	}
	if c, ok := t.(io.Closer); ok {
		return c.Close()
	}
	return nil
}

// streamLayer is TCP, with TLS where it is configured.
type streamLayer struct {
	net.Listener
	tls       *tls.Config
	advertise net.Addr
}

// Dial implements raft.StreamLayer.
func (l *streamLayer) Dial(address raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	ctx := context.Background() // Raft gives none; the timeout covers the handshake too
	d := &net.Dialer{Timeout: timeout}
	if l.tls == nil {
		return d.DialContext(ctx, "tcp", string(address))
	}
	return (&tls.Dialer{NetDialer: d, Config: l.tls}).DialContext(ctx, "tcp", string(address))
}

// Addr implements net.Listener: it is what the others are told.
func (l *streamLayer) Addr() net.Addr { return l.advertise }

// namedAddr is an address that is resolved by whoever dials it.
type namedAddr string

func (a namedAddr) Network() string { return "tcp" }
func (a namedAddr) String() string  { return string(a) }
