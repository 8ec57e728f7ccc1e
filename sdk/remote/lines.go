package remote

import (
	"context"
	"os/exec"
	"slices"

	"google.golang.org/grpc"

	"github.com/pintle-dev/pintle/sdk/internal/calls"
	"github.com/pintle-dev/pintle/sdk/protocol"
)

// Lines are a way to call a process of this machine that is faster than gRPC: streams of calls on
// pairs of sockets, which are handed over on one that the process inherits. A nil value is none,
// and may be used.
type Lines struct {
	inner *calls.Lines // nil where there is no process
	dial  calls.Dial
}

// NewLines makes the way to a process that is about to be started. It fails where the system
// has no such sockets.
func NewLines() (*Lines, error) {
	inner, err := calls.NewLines()
	if err != nil {
		return nil, err
	}
	return &Lines{inner, inner.Dial}, nil
}

// LinesBy makes lines by a function, for tests: dial opens the stream of a method.
func LinesBy(dial func(ctx context.Context, method string) (grpc.ClientStream, error)) *Lines {
	return &Lines{dial: dial}
}

// Pass lets the command's process inherit its end: it adds to Env and ExtraFiles. Passed has to
// be called after it.
func (l *Lines) Pass(cmd *exec.Cmd) error {
	if l == nil || l.inner == nil {
		return nil
	}
	return l.inner.Pass(cmd)
}

// Passed is called when the process has been started, or will not be: the host gives up the
// process's end.
func (l *Lines) Passed() {
	if l != nil && l.inner != nil {
		l.inner.Passed()
	}
}

// Close is called when the process has ended. It may be called more than once.
func (l *Lines) Close() {
	if l != nil && l.inner != nil {
		l.inner.Close()
	}
}

// lineSetting is how a client opens lines; dial is nil where it doesn't.
type lineSetting struct {
	dial   calls.Dial
	around grpc.StreamClientInterceptor
}

// UseLines makes calls of points that can go over lines do so from the next time that they are
// connected. around, which may be nil, sees each stream as an interceptor of a connection does, but
// without a *grpc.ClientConn.
func (c *Client) UseLines(l *Lines, around grpc.StreamClientInterceptor) {
	if l != nil {
		c.lines = lineSetting{l.dial, around}
	}
}

// calling is the connection for a point's calls: with lines where both ends have them.
func (c *Client) calling(p protocol.Point) grpc.ClientConnInterface {
	if c.lines.dial == nil || !slices.Contains(c.powers[p], protocol.CapabilityLine) {
		return c.conn
	}
	return &calls.Conn{ClientConnInterface: c.conn, Dial: c.lines.dial, Around: c.lines.around}
}
