package host

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/pintle-dev/pintle/sdk/plugin"
	pluginv1 "github.com/pintle-dev/pintle/sdk/proto/plugin/v1"
	"github.com/pintle-dev/pintle/sdk/protocol"
)

// relayBuffer is the size of a relay connection's buffers in each direction.
const relayBuffer = 4 << 10

// relay passes calls from plugin to plugin, so that neither has to know where the other runs.
// It knows who may call which point, and nothing of what is said. Without a plugin that uses
// another's point it does not even listen.
type relay struct {
	socket string
	log    *slog.Logger

	mu      sync.Mutex
	server  *grpc.Server
	served  chan struct{} // closed when server has ended
	callers map[string]caller
	offers  map[string]*offers
	session uint64
	changed chan struct{} // closed at each change of offers
}

// caller is a plugin that may call others.
type caller struct {
	name string
	uses []protocol.Point
}

// offers are what one plugin has to offer.
type offers struct {
	// now are the plugin's sessions, the newest last: while one takes over from another there
	// are two.
	now []*offer
	// last is the newest that there was, for when it is away.
	last *offer
}

func (o *offers) current() *offer {
	if len(o.now) == 0 {
		return nil
	}
	return o.now[len(o.now)-1]
}

// offer is a plugin in one session.
type offer struct {
	session uint64
	name    string
	version string
	points  []plugin.Point // only names and capabilities
	conn    func() (grpc.ClientConnInterface, error)
	calls   *underway
}

func (o *offer) point(name protocol.Point) *plugin.Point {
	for i := range o.points {
		if o.points[i].Name == name {
			return &o.points[i]
		}
	}
	return nil
}

func newRelay(sockets string, log *slog.Logger) *relay {
	return &relay{
		socket: filepath.Join(sockets, "peers.sock"), log: log,
		callers: map[string]caller{}, offers: map[string]*offers{}, changed: make(chan struct{}),
	}
}

// admit lets a plugin that uses others' points call them, during one session. The plugin's
// environment gets the address that is returned; leave ends the permission.
func (r *relay) admit(s *Spec) (_ plugin.PeersAddress, leave func(), _ error) {
	if len(s.Uses) == 0 {
		return plugin.PeersAddress{}, func() {}, nil
	}
	secret := make([]byte, 32)
	if _, err := rand.Read(secret); err != nil {
		return plugin.PeersAddress{}, nil, fmt.Errorf("token for calls to other plugins: %w", err)
	}
	token := base64.RawURLEncoding.EncodeToString(secret)
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.listen(); err != nil {
		return plugin.PeersAddress{}, nil, err
	}
	r.callers[token] = caller{name: s.Name, uses: s.Uses}
	leave = func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.callers, token)
	}
	return plugin.PeersAddress{Socket: r.socket, Token: token}, leave, nil
}

// listen starts the server unless it runs. Called with the lock held.
func (r *relay) listen() error {
	if r.server != nil {
		return nil
	}
	l, err := net.Listen("unix", r.socket) //nolint:noctx // listening on a unix socket does not wait
	if err != nil {
		return fmt.Errorf("socket for calls from plugin to plugin: %w", err)
	}
	if err := os.Chmod(r.socket, 0o666); err != nil { //nolint:gosec // guests are users of their own; who calls shows a token
		return errors.Join(fmt.Errorf("socket for calls from plugin to plugin: %w", err), l.Close())
	}
	r.server = grpc.NewServer(
		grpc.ForceServerCodecV2(frameCodec{}), grpc.UnknownServiceHandler(r.forward),
		grpc.MaxRecvMsgSize(protocol.MaxMessageBytes), grpc.MaxSendMsgSize(protocol.MaxMessageBytes),
		grpc.ReadBufferSize(relayBuffer), grpc.WriteBufferSize(relayBuffer),
	)
	pluginv1.RegisterPeersServer(r.server, &peersServer{relay: r})
	r.served = make(chan struct{})
	go func(server *grpc.Server, served chan<- struct{}) {
		defer close(served)
		if err := server.Serve(l); err != nil {
			r.log.Error("calls from plugin to plugin have ended", "error", err)
		}
	}(r.server, r.served)
	return nil
}

// close ends all calls.
func (r *relay) close() {
	r.mu.Lock()
	server, served := r.server, r.served
	r.server = nil
	r.mu.Unlock()
	if server != nil {
		server.Stop()
		<-served
	}
}

// offer makes a plugin that has been configured callable; withdraw ends that. A call that is
// under way then goes on for as long as the plugin does, and is among its calls.
func (r *relay) offer(g *guest, calls *underway) (withdraw func()) {
	info := g.base.Info()
	o := &offer{name: info.Name, version: info.Version, calls: calls}
	var closeConn func()
	if g.client != nil {
		for _, p := range g.points {
			o.points = append(o.points, plugin.Point{Name: p, Capabilities: g.client.Capabilities(p)})
		}
		o.conn = func() (grpc.ClientConnInterface, error) { return g.client.Conn(), nil }
	} else {
		local := newLocalConn(g.base, r.log)
		o.points, o.conn, closeConn = local.points, local.open, local.close
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.session++
	o.session = r.session
	mine := r.offers[o.name]
	if mine == nil {
		mine = &offers{}
		r.offers[o.name] = mine
	}
	mine.now = append(mine.now, o)
	mine.last = o
	r.announce()
	return func() {
		r.mu.Lock()
		mine.now = slices.DeleteFunc(mine.now, func(other *offer) bool { return other == o })
		r.announce()
		r.mu.Unlock()
		if closeConn != nil {
			closeConn()
		}
	}
}

// forget removes a plugin that is no longer in the catalogue.
func (r *relay) forget(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.offers, name)
	r.announce()
}

// announce wakes who watches. Called with the lock held.
func (r *relay) announce() {
	close(r.changed)
	r.changed = make(chan struct{})
}

// authenticate says who calls.
func (r *relay) authenticate(md metadata.MD) (caller, error) {
	token := first(md, protocol.PeerTokenKey)
	r.mu.Lock()
	defer r.mu.Unlock()
	c, ok := r.callers[token]
	if !ok || token == "" {
		return caller{}, status.Errorf(codes.Unauthenticated, "metadata %s: not the token of a plugin that runs now", protocol.PeerTokenKey)
	}
	return c, nil
}

// target finds the plugin that is called, if it may be.
func (r *relay) target(c caller, name, method string) (*offer, error) {
	used := slices.IndexFunc(c.uses, func(p protocol.Point) bool { return protocol.Serves(p, method) })
	introduces := protocol.Introduces(method)
	if used < 0 && !introduces {
		return nil, status.Errorf(codes.PermissionDenied, "plugin %s may not call %s: its entry allows it the points %v of other plugins", c.name, method, c.uses)
	}
	if name == "" {
		return nil, status.Errorf(codes.InvalidArgument, "metadata %s: the name of a plugin is needed", protocol.PeerNameKey)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	mine := r.offers[name]
	if mine == nil || mine.current() == nil {
		return nil, status.Errorf(codes.Unavailable, "plugin %s is not running", name)
	}
	o := mine.current()
	if introduces {
		used = slices.IndexFunc(c.uses, func(p protocol.Point) bool { return o.point(p) != nil })
	} else if o.point(c.uses[used]) == nil {
		used = -1
	}
	if used < 0 {
		return nil, status.Errorf(codes.Unimplemented, "plugin %s offers no point that plugin %s may call", name, c.name)
	}
	return o, nil
}

func first(md metadata.MD, key string) string {
	if v := md.Get(key); len(v) > 0 {
		return v[0]
	}
	return ""
}
