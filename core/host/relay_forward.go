package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/pintle-dev/pintle/sdk/protocol"
)

// forward passes one call on, message by message, until one end is done with it. The caller's
// deadline and its cancelling reach the plugin that is called, whose answer and status come
// back as they are.
func (r *relay) forward(_ any, in grpc.ServerStream) error {
	method, _ := grpc.MethodFromServerStream(in)
	md, _ := metadata.FromIncomingContext(in.Context())
	from, err := r.authenticate(md)
	if err != nil {
		return err
	}
	to, err := r.target(from, first(md, protocol.PeerNameKey), method)
	if err != nil {
		return err
	}
	defer to.calls.relayed(method)()
	conn, err := to.conn()
	if err != nil {
		return status.Errorf(codes.Unavailable, "plugin %s can't be reached: %v", to.name, err)
	}
	ctx, cancel := context.WithCancel(metadata.NewOutgoingContext(in.Context(), passed(md)))
	defer cancel()
	out, err := conn.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, method, grpc.ForceCodecV2(frameCodec{}))
	if err != nil {
		return away(in.Context(), to, err)
	}
	go func() {
		if !passOn(in, out) {
			cancel()
		}
	}()
	return away(in.Context(), to, passBack(out, in))
}

// passOn passes the caller's messages on. It returns false where the call is broken.
func passOn(in grpc.ServerStream, out grpc.ClientStream) bool {
	for {
		var f frame
		switch err := in.RecvMsg(&f); {
		case errors.Is(err, io.EOF):
			return out.CloseSend() == nil
		case err != nil:
			return false
		}
		if out.SendMsg(&f) != nil {
			return true // why is what RecvMsg of the other direction says
		}
	}
}

// passBack passes the answers back, and returns how the call ended.
func passBack(out grpc.ClientStream, in grpc.ServerStream) error {
	for begun := false; ; begun = true {
		var f frame
		err := out.RecvMsg(&f)
		if !begun {
			if header, herr := out.Header(); herr == nil && len(header) > 0 {
				if herr := in.SetHeader(header); herr != nil {
					return herr
				}
			}
		}
		if err != nil {
			in.SetTrailer(out.Trailer())
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		if err := in.SendMsg(&f); err != nil {
			return err
		}
	}
}

// away says which plugin is gone where a call broke because it is.
func away(ctx context.Context, to *offer, err error) error {
	switch {
	case err == nil:
		return nil
	case status.Code(err) == codes.Unavailable, status.Code(err) == codes.Canceled && ctx.Err() == nil:
		return status.Errorf(codes.Unavailable, "plugin %s went away during the call: %s", to.name, status.Convert(err).Message())
	default:
		return err
	}
}

// passed is the metadata that goes along with a call: what the caller added itself.
func passed(md metadata.MD) metadata.MD {
	out := metadata.MD{}
	for k, v := range md {
		switch {
		case k == protocol.PeerTokenKey, k == protocol.PeerNameKey, k == "content-type", k == "user-agent",
			strings.HasPrefix(k, ":"), strings.HasPrefix(k, "grpc-"):
		default:
			out[k] = v
		}
	}
	return out
}

// frame is a message that is not looked into.
type frame struct{ data mem.BufferSlice }

// frameCodec leaves frames as they are; other messages are those of the relay's own service.
type frameCodec struct{}

var _ encoding.CodecV2 = frameCodec{}

// Marshal implements encoding.CodecV2. gRPC frees what it is given.
func (frameCodec) Marshal(v any) (mem.BufferSlice, error) {
	if f, ok := v.(*frame); ok {
		return f.data, nil
	}
	return encoding.GetCodecV2(proto.Name).Marshal(v)
}

// Unmarshal implements encoding.CodecV2.
func (frameCodec) Unmarshal(data mem.BufferSlice, v any) error {
	if f, ok := v.(*frame); ok {
		data.Ref()
		f.data = data
		return nil
	}
	if err := encoding.GetCodecV2(proto.Name).Unmarshal(data, v); err != nil {
		return fmt.Errorf("relay: %w", err)
	}
	return nil
}

// Name implements encoding.CodecV2: what plugins send each other is protobuf.
func (frameCodec) Name() string { return proto.Name }
