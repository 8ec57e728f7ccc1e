package kms

import (
	"context"
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/pintle-dev/pintle/sdk/plugin"
	pluginv1 "github.com/pintle-dev/pintle/sdk/proto/plugin/v1"
	"github.com/pintle-dev/pintle/sdk/protocol"
)

// Point offers impl as a key manager.
func Point(impl KeyManager) plugin.Point {
	return protocol.NewPoint(protocol.PointKeyManager, func(s grpc.ServiceRegistrar, _ plugin.Host) {
		pluginv1.RegisterKeyManagerServer(s, &server{impl: impl})
	})
}

type server struct {
	pluginv1.UnimplementedKeyManagerServer
	impl KeyManager
}

func (s *server) Status(ctx context.Context, _ *pluginv1.KeyStatusRequest) (*pluginv1.KeyStatusResponse, error) {
	st, err := s.impl.Status(ctx)
	if err != nil {
		return nil, protocol.PluginError(err)
	}
	return &pluginv1.KeyStatusResponse{KeyId: st.KeyID}, nil
}

func (s *server) Wrap(ctx context.Context, r *pluginv1.WrapRequest) (*pluginv1.WrapResponse, error) {
	if n := len(r.GetKey()); n == 0 || n > MaxKeyBytes {
		return nil, status.Error(codes.InvalidArgument, fmt.Sprintf("a key of %d bytes can't be wrapped: 1 to %d", n, MaxKeyBytes))
	}
	w, err := s.impl.Wrap(ctx, r.GetKey())
	if err != nil {
		return nil, protocol.PluginError(err)
	}
	return &pluginv1.WrapResponse{KeyId: w.KeyID, Data: w.Data}, nil
}

func (s *server) Unwrap(ctx context.Context, r *pluginv1.UnwrapRequest) (*pluginv1.UnwrapResponse, error) {
	key, err := s.impl.Unwrap(ctx, Wrapped{KeyID: r.GetKeyId(), Data: r.GetData()})
	if err != nil {
		return nil, protocol.PluginError(err)
	}
	return &pluginv1.UnwrapResponse{Key: key}, nil
}
