package store

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/pintle-dev/pintle/core/store/internal/peer"
)

const (
	peerConnections = 3
	peerTimeout     = 10 * time.Second
)

// newTransport makes the way to the other servers: TCP where an address is given, shared
// with the messages of this package, and one that stays in this process otherwise.
func (s *Store) newTransport() (raft.Transport, error) {
	cfg := s.cfg
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
		return nil, fmt.Errorf("store: listening for the other servers: %w", err)
	}
	layer := &streamLayer{
		Mux: peer.NewMux(cfg.NodeID, listener, cfg.PeerTLS, cfg.AdmitPeer, s.log), tls: cfg.PeerTLS, advertise: listener.Addr(),
	}
	if cfg.Advertise != cfg.Address {
		layer.advertise = namedAddr(cfg.Advertise)
	} else if tcp, ok := listener.Addr().(*net.TCPAddr); !ok || tcp.IP.IsUnspecified() {
		return nil, errors.Join(fmt.Errorf("store: Address %s can't be reached by other servers: set Advertise", cfg.Address), listener.Close())
	}
	s.peers = newPeers(s, layer.Mux)
	t := &sharedTransport{
		NetworkTransport: raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
			Stream:  layer,
			MaxPool: peerConnections,
			Timeout: peerTimeout,
			Logger:  raftLogger(cfg.Logger),
		}),
		rpcs: make(chan raft.RPC), done: make(chan struct{}),
	}
	go t.pass()
	s.peers.inject = t.inject
	return t, nil
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

// sharedTransport lets this package hand messages of Raft's protocol to Raft that came
// another way than over Raft's connections.
type sharedTransport struct {
	*raft.NetworkTransport
	rpcs      chan raft.RPC
	done      chan struct{}
	pipelines pipelines

	close    sync.Once
	closeErr error
}

// Consumer implements raft.Transport.
func (t *sharedTransport) Consumer() <-chan raft.RPC { return t.rpcs }

// pass hands on what comes over Raft's connections.
func (t *sharedTransport) pass() {
	in := t.NetworkTransport.Consumer()
	for {
		select {
		case rpc := <-in:
			select {
			case t.rpcs <- rpc:
			case <-t.done:
				return
			}
		case <-t.done:
			return
		}
	}
}

// at is an address as streamLayer dials it: with who is expected there. Raft knows servers by
// their identities, but calls whoever listens at the address.
func at(id raft.ServerID, target raft.ServerAddress) raft.ServerAddress {
	return raft.ServerAddress(id) + "@" + target
}

// AppendEntries implements raft.Transport.
func (t *sharedTransport) AppendEntries(id raft.ServerID, target raft.ServerAddress, args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	return t.NetworkTransport.AppendEntries(id, at(id, target), args, resp)
}

// AppendEntriesPipeline implements raft.Transport.
func (t *sharedTransport) AppendEntriesPipeline(id raft.ServerID, target raft.ServerAddress) (raft.AppendPipeline, error) {
	p, err := t.NetworkTransport.AppendEntriesPipeline(id, at(id, target))
	if err != nil {
		return nil, err //nolint:wrapcheck // Raft's own, for Raft
	}
	return t.pipelines.add(p, heldUp)
}

// RequestVote implements raft.Transport.
func (t *sharedTransport) RequestVote(id raft.ServerID, target raft.ServerAddress, args *raft.RequestVoteRequest, resp *raft.RequestVoteResponse) error {
	return t.NetworkTransport.RequestVote(id, at(id, target), args, resp)
}

// RequestPreVote implements raft.WithPreVote.
func (t *sharedTransport) RequestPreVote(id raft.ServerID, target raft.ServerAddress, args *raft.RequestPreVoteRequest, resp *raft.RequestPreVoteResponse) error {
	return t.NetworkTransport.RequestPreVote(id, at(id, target), args, resp)
}

// InstallSnapshot implements raft.Transport.
func (t *sharedTransport) InstallSnapshot(id raft.ServerID, target raft.ServerAddress, args *raft.InstallSnapshotRequest, resp *raft.InstallSnapshotResponse, data io.Reader) error {
	return t.NetworkTransport.InstallSnapshot(id, at(id, target), args, resp, data)
}

// TimeoutNow implements raft.Transport.
func (t *sharedTransport) TimeoutNow(id raft.ServerID, target raft.ServerAddress, args *raft.TimeoutNowRequest, resp *raft.TimeoutNowResponse) error {
	return t.NetworkTransport.TimeoutNow(id, at(id, target), args, resp)
}

// inject hands a message to Raft and returns its answer.
func (t *sharedTransport) inject(ctx context.Context, command any) (any, error) {
	answer := make(chan raft.RPCResponse, 1)
	select {
	case t.rpcs <- raft.RPC{Command: command, RespChan: answer}:
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-t.done:
		return nil, ErrClosed
	}
	select {
	case r := <-answer:
		return r.Response, r.Error
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-t.done:
		return nil, ErrClosed
	}
}

// Close implements raft.WithClose. Raft calls it when it shuts down.
func (t *sharedTransport) Close() error {
	t.close.Do(func() {
		close(t.done)
		t.closeErr = t.NetworkTransport.Close()
	})
	return t.closeErr
}

// streamLayer is TCP, with TLS where it is configured.
type streamLayer struct {
	*peer.Mux
	tls       *tls.Config
	advertise net.Addr
}

// Dial implements raft.StreamLayer.
func (l *streamLayer) Dial(address raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout) // Raft gives none
	defer cancel()
	id, addr, ok := strings.Cut(string(address), "@")
	if !ok {
		return nil, fmt.Errorf("%s names no server", address)
	}
	return peer.DialRaft(ctx, addr, l.tls, id)
}

// Addr implements net.Listener: it is what the others are told.
func (l *streamLayer) Addr() net.Addr { return l.advertise }

// namedAddr is an address that is resolved by whoever dials it.
type namedAddr string

func (a namedAddr) Network() string { return "tcp" }
func (a namedAddr) String() string  { return string(a) }
