package peers

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/pintle-dev/pintle/sdk/plugin"
	pluginv1 "github.com/pintle-dev/pintle/sdk/proto/plugin/v1"
	"github.com/pintle-dev/pintle/sdk/protocol"
)

// bufferBytes of each direction of the connection: plugins that only wait need no more.
const bufferBytes = 4 << 10

// ErrNone says that the plugin may call no others: its entry names no points that it uses.
var ErrNone = errors.New("this plugin was given no way to other plugins: it has to ask for points in its manifest (uses), and be granted them")

// Peer is a plugin that offers a point.
type Peer struct {
	Name    string
	Version string
	// Available says whether it can be called now.
	Available bool
	// Session grows with each start of the plugin. Another number is another process, which
	// knows nothing of what the one before it was told.
	Session      uint64
	Capabilities []string
}

// Peers reaches other plugins. It is safe for concurrent use.
type Peers struct {
	conn   *grpc.ClientConn
	client pluginv1.PeersClient
	token  string
}

// Connect returns the way to other plugins that env holds. It does not wait for anything; it
// fails with ErrNone where there is none.
func Connect(env plugin.Env) (*Peers, error) {
	if env.Peers.Socket == "" {
		return nil, ErrNone
	}
	conn, err := grpc.NewClient("passthrough:peers",
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", env.Peers.Socket)
		}),
		grpc.WithTransportCredentials(insecure.NewCredentials()), // the socket's directory is private, the token says who calls
		grpc.WithReadBufferSize(bufferBytes), grpc.WithWriteBufferSize(bufferBytes),
		grpc.WithDefaultCallOptions(
			grpc.MaxCallRecvMsgSize(protocol.MaxMessageBytes), grpc.MaxCallSendMsgSize(protocol.MaxMessageBytes),
		))
	if err != nil {
		return nil, fmt.Errorf("connect to other plugins: %w", err)
	}
	return &Peers{conn: conn, client: pluginv1.NewPeersClient(conn), token: env.Peers.Token}, nil
}

// Close ends all calls.
func (p *Peers) Close() error { return p.conn.Close() }

// Watch calls f with all plugins that offer a point, or offered it when they last ran, at once
// and whenever one of them changes, until ctx is done. It fails at once where the point may not
// be used; whatever else fails is tried again.
func (p *Peers) Watch(ctx context.Context, point protocol.Point, f func([]Peer)) error {
	const first, most = 100 * time.Millisecond, 10 * time.Second
	for wait := first; ; {
		got, err := p.watch(ctx, point, f)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case status.Code(err) == codes.PermissionDenied, status.Code(err) == codes.Unauthenticated:
			return fmt.Errorf("watch plugins with point %q: %s", point, status.Convert(err).Message())
		case got:
			wait = first
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
		wait = min(2*wait, most)
	}
}

// watch follows one stream, and reports whether anything came.
func (p *Peers) watch(ctx context.Context, point protocol.Point, f func([]Peer)) (got bool, err error) {
	ctx, cancel := context.WithCancel(metadata.AppendToOutgoingContext(ctx, protocol.PeerTokenKey, p.token))
	defer cancel()
	stream, err := p.client.Watch(ctx, &pluginv1.WatchPeersRequest{Point: string(point)})
	if err != nil {
		return false, err
	}
	for {
		m, err := stream.Recv()
		if err != nil {
			return got, err
		}
		got = true
		list := make([]Peer, len(m.GetPeers()))
		for i, w := range m.GetPeers() {
			list[i] = Peer{
				Name: w.GetName(), Version: w.GetVersion(), Available: w.GetAvailable(),
				Session: w.GetSession(), Capabilities: w.GetCapabilities(),
			}
		}
		f(list)
	}
}

// Conn returns a connection to a plugin, for the client of a point's service or for
// remote.Connect. Calls fail with UNAVAILABLE while the plugin is away.
func (p *Peers) Conn(name string) grpc.ClientConnInterface { return &peerConn{peers: p, name: name} }

// peerConn is a connection whose calls name the plugin that is called.
type peerConn struct {
	peers *Peers
	name  string
}

func (c *peerConn) addressed(ctx context.Context) context.Context {
	return metadata.AppendToOutgoingContext(ctx, protocol.PeerTokenKey, c.peers.token, protocol.PeerNameKey, c.name)
}

// Invoke implements grpc.ClientConnInterface.
func (c *peerConn) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	return c.peers.conn.Invoke(c.addressed(ctx), method, args, reply, opts...)
}

// NewStream implements grpc.ClientConnInterface.
func (c *peerConn) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	return c.peers.conn.NewStream(c.addressed(ctx), desc, method, opts...)
}
