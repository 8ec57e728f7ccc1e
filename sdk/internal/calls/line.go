package calls

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/pintle-dev/pintle/sdk/protocol"
)

// LineConn carries a line. Its end is seen at the other end, whoever closes it.
type LineConn interface {
	io.ReadWriteCloser
	SetReadDeadline(t time.Time) error
	SetWriteDeadline(t time.Time) error
	// CloseWrite says that nothing more will be written.
	CloseWrite() error
}

// line is a stream of messages on a connection of its own. A message is sent with one system call
// by who sends it, and read by who wants it: gRPC has goroutines for both, and each step from one
// to the next may have to wake a thread. As with gRPC's streams, one goroutine at a time sends, and
// one receives.
type line struct {
	conn LineConn
	in   frameReader
	out  []byte
}

func newLine(conn LineConn) *line {
	return &line{conn: conn, in: frameReader{from: conn, longest: protocol.MaxMessageBytes}}
}

func (l *line) send(kind byte, m any) error {
	msg, ok := m.(proto.Message)
	if !ok {
		return status.Errorf(codes.Internal, "%T is no message", m)
	}
	b, err := proto.MarshalOptions{}.MarshalAppend(append(l.out[:0], kind, 0, 0, 0, 0), msg)
	if err != nil {
		return status.Errorf(codes.Internal, "encode %T: %v", m, err)
	}
	size := len(b) - frameHead
	if size > protocol.MaxMessageBytes {
		return status.Errorf(codes.ResourceExhausted, "a message of %d bytes is larger than max %d", size, protocol.MaxMessageBytes)
	}
	binary.BigEndian.PutUint32(b[1:], uint32(size)) //nolint:gosec // bounded above
	_, err = l.conn.Write(b)
	if cap(b) <= mostKept {
		l.out = b[:0]
	} else {
		l.out = nil
	}
	return err //nolint:wrapcheck // for the streams below
}

func (l *line) recv(into any) (end *status.Status, err error) {
	kind, payload, err := l.in.next()
	if err != nil {
		return nil, err
	}
	switch kind {
	case frameMessage:
		msg, ok := into.(proto.Message)
		if !ok {
			return nil, fmt.Errorf("%T is no message", into)
		}
		return nil, proto.Unmarshal(payload, msg) //nolint:wrapcheck // for the streams below
	case frameEnd:
		s := status.New(codes.OK, "").Proto()
		if err := proto.Unmarshal(payload, s); err != nil {
			return nil, fmt.Errorf("the stream's end: %w", err)
		}
		return status.FromProto(s), nil
	}
	return nil, fmt.Errorf("a frame of kind %#x, which is none", kind)
}

// clientLine is the end of a line that calls.
type clientLine struct {
	*line
	ctx context.Context //nolint:containedctx // a stream has one
	far context.Context //nolint:containedctx // the other end's
}

var _ receiver = (*clientLine)(nil)

var _ grpc.ClientStream = (*clientLine)(nil)

// newClientLine makes a stream of a connection. The end of ctx ends it, as it does a stream of gRPC.
// far is over when the process at the other end has gone.
func newClientLine(ctx, far context.Context, conn LineConn) *clientLine {
	context.AfterFunc(ctx, func() { _ = conn.Close() })
	l := &clientLine{line: newLine(conn), far: far}
	l.ctx = context.WithValue(ctx, lineKey{}, l)
	return l
}

// lineKey is where the context of a caller's line has the line.
type lineKey struct{}

func lineOf(ctx context.Context) receiver {
	l, ok := ctx.Value(lineKey{}).(receiver)
	if !ok {
		return nil
	}
	return l
}

// past is a deadline that is over.
var past = time.Unix(1, 0)

func (l *clientLine) interrupt() { _ = l.conn.SetReadDeadline(past) }

func (l *clientLine) gone() context.Context { return l.far }

// SendMsg implements grpc.ClientStream.
func (l *clientLine) SendMsg(m any) error {
	err := l.send(frameMessage, m)
	if _, ours := status.FromError(err); ours {
		return err
	}
	return io.EOF // RecvMsg says why
}

// RecvMsg implements grpc.ClientStream. Where it is interrupted, the message is empty.
func (l *clientLine) RecvMsg(m any) error {
	end, err := l.recv(m)
	switch {
	case err == nil && end == nil:
		return nil
	case l.ctx.Err() == nil && errors.Is(err, os.ErrDeadlineExceeded):
		return l.conn.SetReadDeadline(time.Time{}) //nolint:wrapcheck // fails where it is closed
	case l.ctx.Err() != nil:
		err = status.FromContextError(l.ctx.Err()).Err()
	case end != nil && end.Code() == codes.OK:
		err = io.EOF
	case end != nil:
		err = end.Err()
	case errors.Is(err, errTooLong):
		err = status.Error(codes.ResourceExhausted, err.Error())
	case errors.Is(err, io.EOF):
		err = status.Error(codes.Unavailable, "the other end of the line has gone")
	default:
		err = status.Errorf(codes.Unavailable, "the line is broken: %v", err)
	}
	_ = l.conn.Close() // nothing can come that means anything
	return err
}

// CloseSend implements grpc.ClientStream.
func (l *clientLine) CloseSend() error {
	return l.conn.CloseWrite() //nolint:wrapcheck // names the file itself
}

// Context implements grpc.ClientStream.
func (l *clientLine) Context() context.Context { return l.ctx }

// Header implements grpc.ClientStream; a line has none.
func (*clientLine) Header() (metadata.MD, error) { return nil, nil }

// Trailer implements grpc.ClientStream.
func (*clientLine) Trailer() metadata.MD { return nil }

// serverLine is the end of a line that answers.
type serverLine struct {
	*line
	ctx  context.Context //nolint:containedctx // a stream has one
	once sync.Once
}

var _ grpc.ServerStream = (*serverLine)(nil)

// SendMsg implements grpc.ServerStream. Where it fails, the stream ends for that reason.
func (l *serverLine) SendMsg(m any) error {
	err := l.send(frameMessage, m)
	if err != nil {
		l.end(err)
	}
	return err
}

// end says why the stream ends, nil for no reason, and ends it.
func (l *serverLine) end(err error) {
	l.once.Do(func() {
		if _, ok := status.FromError(err); !ok && (errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)) {
			err = status.FromContextError(err).Err()
		}
		_ = l.conn.SetWriteDeadline(time.Now().Add(endPatience)) // nobody may be listening
		_ = l.send(frameEnd, status.Convert(err).Proto())
		_ = l.conn.Close()
	})
}

// RecvMsg implements grpc.ServerStream.
func (l *serverLine) RecvMsg(m any) error {
	end, err := l.recv(m)
	if err == nil && end != nil {
		return errors.New("a caller does not end a stream with a status")
	}
	return err
}

// Context implements grpc.ServerStream.
func (l *serverLine) Context() context.Context { return l.ctx }

// SetHeader implements grpc.ServerStream; a line has none.
func (*serverLine) SetHeader(metadata.MD) error { return nil }

// SendHeader implements grpc.ServerStream.
func (*serverLine) SendHeader(metadata.MD) error { return nil }

// SetTrailer implements grpc.ServerStream.
func (*serverLine) SetTrailer(metadata.MD) {}

// moreKey is where the context of a line tells whether more has come than what was received.
type moreKey struct{}

func moreOf(ctx context.Context) func() bool {
	more, _ := ctx.Value(moreKey{}).(func() bool)
	return more
}
