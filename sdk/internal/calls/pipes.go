package calls

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"google.golang.org/grpc"
)

// pipes are a connection of two pipes. A socket would do, but tells who has written each time that the
// other has read, which wakes a thread for nothing.
type pipes struct{ in, out *os.File }

var _ LineConn = (*pipes)(nil)

// Read implements io.Reader.
func (p *pipes) Read(b []byte) (int, error) { return p.in.Read(b) } //nolint:wrapcheck // io.EOF is looked for

// Write implements io.Writer.
func (p *pipes) Write(b []byte) (int, error) { return p.out.Write(b) } //nolint:wrapcheck // for the line

// SetReadDeadline implements LineConn.
func (p *pipes) SetReadDeadline(t time.Time) error { return p.in.SetReadDeadline(t) } //nolint:wrapcheck // for the line

// SetWriteDeadline implements LineConn.
func (p *pipes) SetWriteDeadline(t time.Time) error { return p.out.SetWriteDeadline(t) } //nolint:wrapcheck // for the line

// CloseWrite implements LineConn.
func (p *pipes) CloseWrite() error { return p.out.Close() } //nolint:wrapcheck // for the line

// Close implements io.Closer.
func (p *pipes) Close() error { return errors.Join(p.in.Close(), p.out.Close()) }

// Local returns what opens lines to the server within the process. They end with ctx. It is for tests.
func (s *LineServer) Local(ctx context.Context) Dial {
	return func(stream context.Context, method string) (grpc.ClientStream, error) {
		a, b, err := localPipes()
		if err != nil {
			return nil, err
		}
		context.AfterFunc(ctx, func() { _ = b.Close() })
		far, gone := context.WithCancel(ctx)
		go func() {
			s.stream(ctx, method, b)
			gone()
		}()
		return newClientLine(stream, far, a), nil
	}
}

// localPipes makes a connection within the process.
func localPipes() (a, b *pipes, err error) {
	r1, w1, err := os.Pipe()
	if err != nil {
		return nil, nil, fmt.Errorf("make a pipe: %w", err)
	}
	r2, w2, err := os.Pipe()
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("make a pipe: %w", err), r1.Close(), w1.Close())
	}
	return &pipes{r1, w2}, &pipes{r2, w1}, nil
}
