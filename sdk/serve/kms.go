package serve

import (
	"context"
	"fmt"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/pintle-dev/pintle/sdk/kms"
	pluginv1 "github.com/pintle-dev/pintle/sdk/proto/plugin/v1"
)

type keyManagerServer struct {
	pluginv1.UnimplementedKeyManagerServer
	impl kms.KeyManager
}

func (s *keyManagerServer) Status(ctx context.Context, _ *pluginv1.KeyStatusRequest) (*pluginv1.KeyStatusResponse, error) {
	st, err := s.impl.Status(ctx)
	if err != nil {
		return nil, wireError(err)
	}
	return &pluginv1.KeyStatusResponse{KeyId: st.KeyID}, nil
}

func (s *keyManagerServer) Wrap(ctx context.Context, r *pluginv1.WrapRequest) (*pluginv1.WrapResponse, error) {
	if n := len(r.GetKey()); n == 0 || n > kms.MaxKeyBytes {
		return nil, status.Error(codes.InvalidArgument, fmt.Sprintf("a key of %d bytes can't be wrapped: 1 to %d", n, kms.MaxKeyBytes))
	}
	w, err := s.impl.Wrap(ctx, r.GetKey())
	if err != nil {
		return nil, wireError(err)
	}
	return &pluginv1.WrapResponse{KeyId: w.KeyID, Data: w.Data}, nil
}

func (s *keyManagerServer) Unwrap(ctx context.Context, r *pluginv1.UnwrapRequest) (*pluginv1.UnwrapResponse, error) {
	key, err := s.impl.Unwrap(ctx, kms.Wrapped{KeyID: r.GetKeyId(), Data: r.GetData()})
	if err != nil {
		return nil, wireError(err)
	}
	return &pluginv1.UnwrapResponse{Key: key}, nil
}
