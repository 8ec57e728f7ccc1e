package runtimedriver

import (
	"context"
	"errors"
	"io"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pluginv1 "github.com/pintle-dev/pintle/sdk/proto/plugin/v1"
)

// pieceBytes is the most that is sent of a stream in one message.
const pieceBytes = 32 << 10

// joining is a stream of an Exec or Attach.
type joining = grpc.BidiStreamingServer[pluginv1.RuntimeInput, pluginv1.RuntimeOutput]

// Exec implements pluginv1.RuntimeDriverServer.
func (s *server) Exec(stream joining) error {
	return s.join(stream, func(ctx context.Context, d Driver, start *pluginv1.RuntimeStreamStart, std Stdio) (*pluginv1.RuntimeExit, error) {
		if len(start.GetCommand()) == 0 {
			return nil, status.Error(codes.InvalidArgument, "start.command: is required")
		}
		code, err := d.Exec(ctx, start.GetContainerId(), start.GetCommand(), std)
		if err != nil {
			return nil, errorToWire(err)
		}
		return &pluginv1.RuntimeExit{Code: int32(code)}, nil //nolint:gosec // exit codes are small
	})
}

// Attach implements pluginv1.RuntimeDriverServer.
func (s *server) Attach(stream joining) error {
	return s.join(stream, func(ctx context.Context, d Driver, start *pluginv1.RuntimeStreamStart, std Stdio) (*pluginv1.RuntimeExit, error) {
		if err := d.Attach(ctx, start.GetContainerId(), std); err != nil {
			return nil, errorToWire(err)
		}
		return nil, nil //nolint:nilnil // there is none
	})
}

// join connects a stream of messages to the streams of a command or container.
func (s *server) join(stream joining, call func(context.Context, Driver, *pluginv1.RuntimeStreamStart, Stdio) (*pluginv1.RuntimeExit, error)) error {
	d, err := s.open.Get()
	if err != nil {
		return err
	}
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	start := first.GetStart()
	if start == nil {
		return status.Error(codes.InvalidArgument, "the first message must be start")
	}
	ctx, cancel := context.WithCancel(stream.Context())
	defer cancel()
	in := newInbox()
	context.AfterFunc(ctx, func() { in.end(ctx.Err()) })
	out := &outputs{send: stream.Send}
	std := Stdio{TTY: start.GetTty()}
	if start.GetStdin() {
		std.In = in
	}
	if start.GetStdout() {
		std.Out = writer(func(p []byte) error {
			return out.write(&pluginv1.RuntimeOutput{Output: &pluginv1.RuntimeOutput_Stdout{Stdout: p}})
		})
	}
	if start.GetStderr() {
		std.Err = writer(func(p []byte) error {
			return out.write(&pluginv1.RuntimeOutput{Output: &pluginv1.RuntimeOutput_Stderr{Stderr: p}})
		})
	}
	resize := make(chan TerminalSize, 1)
	if std.TTY {
		std.Resize = resize
	}
	go receiveInput(stream, in, resize)
	exit, err := call(ctx, d, start, std)
	in.leave()
	out.close()
	if err != nil || exit == nil {
		return err
	}
	return stream.Send(&pluginv1.RuntimeOutput{Output: &pluginv1.RuntimeOutput_Exit{Exit: exit}})
}

// receiveInput passes what comes on, at the speed at which it is taken, until the stream ends, as
// it does with its call. Of sizes of the terminal only the last one counts.
func receiveInput(stream joining, stdin *inbox, resize chan TerminalSize) {
	for {
		m, err := stream.Recv()
		if err != nil {
			stdin.end(err) // io.EOF where all was sent
			return
		}
		switch in := m.GetInput().(type) {
		case *pluginv1.RuntimeInput_Stdin:
			stdin.put(in.Stdin)
		case *pluginv1.RuntimeInput_StdinEnd:
			stdin.end(io.EOF)
		case *pluginv1.RuntimeInput_Resize:
			select {
			case <-resize:
			default:
			}
			resize <- TerminalSize{Width: uint16(in.Resize.GetWidth()), Height: uint16(in.Resize.GetHeight())} //nolint:gosec // characters of a terminal
		}
	}
}

// outputs send the pieces of several streams in one.
type outputs struct {
	mu     sync.Mutex
	send   func(*pluginv1.RuntimeOutput) error
	closed bool
}

func (o *outputs) write(m *pluginv1.RuntimeOutput) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return io.ErrClosedPipe
	}
	return o.send(m)
}

// close ends all streams; a driver's stray goroutines may still write to them.
func (o *outputs) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
}

// writer sends what is written in pieces.
type writer func(piece []byte) error

// Write implements io.Writer.
func (w writer) Write(p []byte) (int, error) {
	for n := 0; n < len(p); n += pieceBytes {
		if err := w(p[n:min(n+pieceBytes, len(p))]); err != nil {
			return n, err
		}
	}
	return len(p), nil
}

// PortForward implements pluginv1.RuntimeDriverServer.
func (s *server) PortForward(stream grpc.BidiStreamingServer[pluginv1.PortForwardInput, pluginv1.Bytes]) error {
	d, err := able[PortForwarder](s, "forward ports")
	if err != nil {
		return err
	}
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	start := first.GetStart()
	if start == nil {
		return status.Error(codes.InvalidArgument, "the first message must be start")
	}
	ctx, cancel := context.WithCancel(stream.Context())
	defer cancel()
	in, feed := io.Pipe()
	context.AfterFunc(ctx, func() { _ = feed.CloseWithError(ctx.Err()) })
	go func() {
		for {
			m, err := stream.Recv()
			if errors.Is(err, io.EOF) {
				_ = feed.Close()
				return
			}
			if err != nil {
				_ = feed.CloseWithError(err)
				return
			}
			_, _ = feed.Write(m.GetData())
		}
	}()
	f := &forwarded{in: in, send: stream.Send}
	err = d.PortForward(ctx, start.GetSandboxId(), start.GetPort(), f)
	_ = f.Close()
	if err != nil {
		return errorToWire(err)
	}
	return nil
}

// forwarded is the connection of a PortForward, as the driver has it.
type forwarded struct {
	in *io.PipeReader

	mu     sync.Mutex
	send   func(*pluginv1.Bytes) error
	closed bool
}

var _ io.ReadWriteCloser = (*forwarded)(nil)

// Read implements io.Reader.
func (f *forwarded) Read(p []byte) (int, error) { return f.in.Read(p) }

// Write implements io.Writer.
func (f *forwarded) Write(p []byte) (int, error) {
	return writer(func(piece []byte) error {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.closed {
			return io.ErrClosedPipe
		}
		return f.send(&pluginv1.Bytes{Data: piece})
	}).Write(p)
}

// Close implements io.Closer.
func (f *forwarded) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	return f.in.Close()
}
