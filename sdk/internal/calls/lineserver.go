package calls

import (
	"context"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// endPatience is how long the end of a stream may take to be said: nobody may be listening.
const endPatience = time.Second

// LineServer serves the streams of services over lines.
type LineServer struct {
	methods map[string]lineMethod
}

type lineMethod struct {
	impl    any
	handler grpc.StreamHandler
}

// Beside registers services on a gRPC server, and their streams for lines.
type Beside struct {
	grpc.ServiceRegistrar
	Lines *LineServer
}

// RegisterService implements grpc.ServiceRegistrar.
func (b Beside) RegisterService(d *grpc.ServiceDesc, impl any) {
	b.ServiceRegistrar.RegisterService(d, impl)
	b.Lines.RegisterService(d, impl)
}

// RegisterService implements grpc.ServiceRegistrar: it takes the streams on which both ends send.
func (s *LineServer) RegisterService(d *grpc.ServiceDesc, impl any) {
	for _, m := range d.Streams {
		if m.ClientStreams && m.ServerStreams {
			if s.methods == nil {
				s.methods = map[string]lineMethod{}
			}
			s.methods["/"+d.ServiceName+"/"+m.StreamName] = lineMethod{impl, m.Handler}
		}
	}
}

// Serve serves the lines that accept returns, until it returns an error, and then until those end.
// accept gives the name of a stream's method.
func (s *LineServer) Serve(ctx context.Context, accept func() (method string, conn LineConn, err error)) error {
	var open sync.WaitGroup
	defer open.Wait()
	for {
		method, conn, err := accept()
		if err != nil {
			return err
		}
		open.Go(func() { s.stream(ctx, method, conn) })
	}
}

// stream serves one line.
func (s *LineServer) stream(ctx context.Context, method string, conn LineConn) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	l := newLine(conn)
	stream := &serverLine{line: l, ctx: context.WithValue(ctx, moreKey{}, l.in.more)}
	err := status.Errorf(codes.Unimplemented, "there is no stream %q", method)
	if m, ok := s.methods[method]; ok {
		err = m.handler(m.impl, stream)
	}
	stream.end(err)
}
