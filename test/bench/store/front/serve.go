package front

import (
	"context"
	"fmt"
	"hash/fnv"
	"math"
	"net"
	"strings"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/pintle-dev/pintle/core/store"
)

// server is what the services share.
type server struct {
	store *store.Store
	id    uint64
}

// New makes the gRPC server of a store, whose NodeID must be the address at which it talks
// to the other voters: members are named by it.
func New(s *store.Store, nodeID string) *grpc.Server {
	srv := &server{store: s, id: memberID(nodeID)}
	// The limits are etcd's: none on streams, and messages of a large page.
	g := grpc.NewServer(grpc.MaxConcurrentStreams(math.MaxUint32), grpc.MaxSendMsgSize(math.MaxInt32))
	etcdserverpb.RegisterKVServer(g, kv{server: srv})
	etcdserverpb.RegisterWatchServer(g, watches{server: srv})
	etcdserverpb.RegisterMaintenanceServer(g, maintenance{server: srv})
	etcdserverpb.RegisterClusterServer(g, members{server: srv})
	return g
}

// Serve serves until ctx ends.
func Serve(ctx context.Context, g *grpc.Server, l net.Listener) error {
	stop := context.AfterFunc(ctx, g.Stop)
	defer stop()
	if err := g.Serve(l); err != nil {
		return fmt.Errorf("serving on %s: %w", l.Addr(), err)
	}
	return nil
}

// memberID makes the number that etcd's API wants from a name.
func memberID(name string) uint64 {
	if name == "" {
		return 0
	}
	h := fnv.New64a()
	h.Write([]byte(name))
	return h.Sum64()
}

func (s *server) header(revision uint64) *etcdserverpb.ResponseHeader {
	return &etcdserverpb.ResponseHeader{MemberId: s.id, Revision: int64(revision)}
}

// maintenance says who leads and how far it is.
type maintenance struct {
	etcdserverpb.UnimplementedMaintenanceServer
	*server
}

// Status implements etcdserverpb.MaintenanceServer.
func (s maintenance) Status(context.Context, *etcdserverpb.StatusRequest) (*etcdserverpb.StatusResponse, error) {
	leads, address := s.store.Leadership()
	leader := memberID(address)
	if leads {
		leader = s.id
	} else if leader == s.id {
		leader = 0 // elected, and not caught up yet
	}
	st := s.store.Stats()
	return &etcdserverpb.StatusResponse{
		Header: s.header(st.Revision), Version: "core/store", DbSize: st.DiskBytes, DbSizeInUse: st.DiskBytes,
		Leader: leader, RaftIndex: st.CommitIndex, RaftTerm: st.Term, RaftAppliedIndex: st.AppliedIndex,
	}, nil
}

// members adds voters.
type members struct {
	etcdserverpb.UnimplementedClusterServer
	*server
}

// MemberAdd implements etcdserverpb.ClusterServer. The peer's URL names both the voter and
// where it listens.
func (s members) MemberAdd(ctx context.Context, r *etcdserverpb.MemberAddRequest) (*etcdserverpb.MemberAddResponse, error) {
	if len(r.PeerURLs) != 1 || r.IsLearner {
		return nil, status.Error(codes.Unimplemented, "member add: want one peer URL of a voter")
	}
	address := strings.TrimPrefix(r.PeerURLs[0], "http://")
	if err := s.store.AddVoter(ctx, address, address); err != nil {
		return nil, failure(err)
	}
	return &etcdserverpb.MemberAddResponse{
		Header: s.header(s.store.Revision()),
		Member: &etcdserverpb.Member{ID: memberID(address), Name: address, PeerURLs: r.PeerURLs},
	}, nil
}
