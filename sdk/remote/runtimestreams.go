package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"google.golang.org/grpc"

	pluginv1 "github.com/pintle-dev/pintle/sdk/proto/plugin/v1"
	"github.com/pintle-dev/pintle/sdk/runtimedriver"
)

// pieceBytes is the most that is sent of a stream in one message.
const pieceBytes = 32 << 10

// joined is a stream to a command or a container.
type joined = grpc.BidiStreamingClient[pluginv1.RuntimeInput, pluginv1.RuntimeOutput]

// Exec implements runtimedriver.Streams.
func (d remoteDriver) Exec(ctx context.Context, id string, cmd []string, std runtimedriver.Stdio) (int, error) {
	exit, err := join(ctx, d.client.Exec, &pluginv1.RuntimeStreamStart{ContainerId: id, Command: cmd}, std)
	if err != nil {
		return 0, err
	}
	if exit == nil {
		return 0, errors.New("the driver ended an exec without an exit code")
	}
	return int(exit.GetCode()), nil
}

// Attach implements runtimedriver.Streams.
func (d remoteDriver) Attach(ctx context.Context, id string, std runtimedriver.Stdio) error {
	_, err := join(ctx, d.client.Attach, &pluginv1.RuntimeStreamStart{ContainerId: id}, std)
	return err
}

// join connects the caller's streams to a stream of messages, and returns how that ended. Nothing
// is received faster than it is written, nor read faster than it is sent. A read of the input that
// is under way at the end is left to the caller to end.
func join(
	ctx context.Context, call func(context.Context, ...grpc.CallOption) (joined, error),
	start *pluginv1.RuntimeStreamStart, std runtimedriver.Stdio,
) (exit *pluginv1.RuntimeExit, err error) {
	life, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := call(life)
	if err != nil {
		return nil, driverError(ctx, err)
	}
	start.Stdin, start.Stdout, start.Stderr, start.Tty = std.In != nil, std.Out != nil, std.Err != nil, std.TTY
	in := &inputs{send: stream.Send}
	in.put(&pluginv1.RuntimeInput{Input: &pluginv1.RuntimeInput_Start{Start: start}})
	if std.In != nil {
		go in.feed(std.In)
	}
	if std.TTY && std.Resize != nil {
		go in.resize(life, std.Resize)
	}
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return exit, nil
		}
		if err != nil {
			return nil, driverError(ctx, err)
		}
		switch out := m.GetOutput().(type) {
		case *pluginv1.RuntimeOutput_Stdout:
			err = put(std.Out, out.Stdout)
		case *pluginv1.RuntimeOutput_Stderr:
			err = put(std.Err, out.Stderr)
		case *pluginv1.RuntimeOutput_Exit:
			exit = out.Exit
		}
		if err != nil {
			return nil, fmt.Errorf("pass the output on: %w", err)
		}
	}
}

// put writes a piece of output, where somebody wants it.
func put(to io.Writer, piece []byte) error {
	if to == nil {
		return nil
	}
	_, err := to.Write(piece)
	return err
}

// inputs sends what goes to a command in one stream.
type inputs struct {
	mu   sync.Mutex
	send func(*pluginv1.RuntimeInput) error
}

// put sends a message. It returns false where the stream is broken; why is what Recv says.
func (i *inputs) put(m *pluginv1.RuntimeInput) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.send(m) == nil
}

// feed sends all of the input, and its end.
func (i *inputs) feed(in io.Reader) {
	for buf := make([]byte, pieceBytes); ; {
		n, err := in.Read(buf)
		if n > 0 && !i.put(&pluginv1.RuntimeInput{Input: &pluginv1.RuntimeInput_Stdin{Stdin: buf[:n]}}) {
			return
		}
		if err != nil {
			i.put(&pluginv1.RuntimeInput{Input: &pluginv1.RuntimeInput_StdinEnd{StdinEnd: true}})
			return
		}
	}
}

// resize sends the sizes of the terminal until ctx is done.
func (i *inputs) resize(ctx context.Context, sizes <-chan runtimedriver.TerminalSize) {
	for {
		select {
		case z, ok := <-sizes:
			size := &pluginv1.RuntimeTerminalSize{Width: uint32(z.Width), Height: uint32(z.Height)}
			if !ok || !i.put(&pluginv1.RuntimeInput{Input: &pluginv1.RuntimeInput_Resize{Resize: size}}) {
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

// PortForward implements runtimedriver.PortForwarder.
func (d remoteDriver) PortForward(ctx context.Context, sandboxID string, port int32, conn io.ReadWriteCloser) error {
	life, cancel := context.WithCancel(ctx)
	defer cancel()
	defer func() { _ = conn.Close() }()
	stream, err := d.client.PortForward(life)
	if err != nil {
		return driverError(ctx, err)
	}
	start := &pluginv1.PortForwardStart{SandboxId: sandboxID, Port: port}
	// Where sending fails, receiving says why.
	_ = stream.Send(&pluginv1.PortForwardInput{Input: &pluginv1.PortForwardInput_Start{Start: start}})
	go func() {
		for buf := make([]byte, pieceBytes); ; {
			n, err := conn.Read(buf)
			if n > 0 && stream.Send(&pluginv1.PortForwardInput{Input: &pluginv1.PortForwardInput_Data{Data: buf[:n]}}) != nil {
				return
			}
			if err != nil {
				_ = stream.CloseSend()
				return
			}
		}
	}()
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return driverError(ctx, err)
		}
		if _, err := conn.Write(m.GetData()); err != nil {
			return nil // who asked is gone, as it may
		}
	}
}
