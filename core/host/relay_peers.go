package host

import (
	"cmp"
	"slices"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	pluginv1 "github.com/pintle-dev/pintle/sdk/proto/plugin/v1"
	"github.com/pintle-dev/pintle/sdk/protocol"
)

// peersServer tells plugins of each other.
type peersServer struct {
	pluginv1.UnimplementedPeersServer
	relay *relay
}

// Watch implements pluginv1.PeersServer.
func (p *peersServer) Watch(req *pluginv1.WatchPeersRequest, stream grpc.ServerStreamingServer[pluginv1.WatchPeersResponse]) error {
	md, _ := metadata.FromIncomingContext(stream.Context())
	who, err := p.relay.authenticate(md)
	if err != nil {
		return err
	}
	point := protocol.Point(req.GetPoint())
	if !slices.Contains(who.uses, point) {
		return status.Errorf(codes.PermissionDenied, "plugin %s may not use point %q of other plugins: its entry allows %v", who.name, point, who.uses)
	}
	var sent *pluginv1.WatchPeersResponse
	for {
		now, changed := p.relay.peers(point)
		if sent == nil || !proto.Equal(sent, now) {
			if err := stream.Send(now); err != nil {
				return err
			}
			sent = now
		}
		select {
		case <-changed:
		case <-stream.Context().Done():
			return stream.Context().Err()
		}
	}
}

// peers lists the plugins that offer a point, and returns what is closed at the next change.
func (r *relay) peers(point protocol.Point) (*pluginv1.WatchPeersResponse, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := &pluginv1.WatchPeersResponse{}
	for _, of := range r.offers {
		o, available := of.current(), true
		if o == nil {
			o, available = of.last, false
		}
		if p := o.point(point); p != nil {
			out.Peers = append(out.Peers, &pluginv1.Peer{
				Name: o.name, Version: o.version, Session: o.session,
				Available: available, Capabilities: p.Capabilities,
			})
		}
	}
	slices.SortFunc(out.Peers, func(a, b *pluginv1.Peer) int { return cmp.Compare(a.GetName(), b.GetName()) })
	return out, r.changed
}
