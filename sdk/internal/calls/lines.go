package calls

import (
	"context"

	"google.golang.org/grpc"
)

// Dial opens a line for a method's stream.
type Dial func(ctx context.Context, method string) (grpc.ClientStream, error)

// Conn is a gRPC connection whose streams in both directions go over lines. Everything else goes
// over gRPC.
type Conn struct {
	grpc.ClientConnInterface
	Dial Dial
	// Around is asked to make each stream, as an interceptor of the connection would be. It is
	// given no *grpc.ClientConn. It may be nil.
	Around grpc.StreamClientInterceptor
}

// NewStream implements grpc.ClientConnInterface.
func (c *Conn) NewStream(ctx context.Context, d *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	if !d.ClientStreams || !d.ServerStreams {
		return c.ClientConnInterface.NewStream(ctx, d, method, opts...) //nolint:wrapcheck // gRPC's own
	}
	dial := func(ctx context.Context, _ *grpc.StreamDesc, _ *grpc.ClientConn, method string, _ ...grpc.CallOption) (grpc.ClientStream, error) {
		return c.Dial(ctx, method)
	}
	if c.Around == nil {
		return dial(ctx, d, nil, method)
	}
	return c.Around(ctx, d, nil, method, dial)
}
