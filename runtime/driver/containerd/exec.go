package containerd

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/errdefs"

	driver "github.com/pintle-dev/pintle/sdk/runtimedriver"
)

var withStdinCloser containerd.IOCloserOpts = containerd.WithStdinCloser

// Exec implements driver.Streams.
func (d *Driver) Exec(ctx context.Context, id string, cmd []string, std driver.Stdio) (int, error) {
	c, err := d.container(id)
	if err != nil {
		return 0, err
	}
	fail := func(err error) (int, error) {
		return 0, fmt.Errorf("exec in container %s: %w", c.record.Name, err)
	}
	ctx = d.in(ctx)
	c.mu.Lock()
	task := c.task
	c.mu.Unlock()
	if task == nil {
		return fail(fmt.Errorf("it is not running"))
	}
	spec, err := task.Spec(ctx)
	if err != nil {
		return fail(err)
	}
	p := *spec.Process
	p.Args, p.Terminal, p.OOMScoreAdj = cmd, std.TTY, spec.Process.OOMScoreAdj
	p.ConsoleSize = nil
	if std.TTY {
		p.Env = append(append([]string(nil), p.Env...), "TERM=xterm")
	}
	// The process outlives a cancelled context until it has been killed below.
	life, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	execID := "exec-" + newID()[:16]
	dir := filepath.Join(c.dir, execID)
	defer func() {
		if err := os.RemoveAll(dir); err != nil {
			d.log.Debug("cannot remove an exec's state", "container", id, "err", err)
		}
	}()
	proc, err := task.Exec(life, execID, &p, execIO(dir, std))
	if err != nil {
		return fail(err)
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		if _, err := proc.Delete(ctx, containerd.WithProcessKill); err != nil && !errdefs.IsNotFound(err) {
			d.log.Debug("cannot delete an exec process", "container", id, "err", err)
		}
	}()
	exited, err := proc.Wait(life)
	if err != nil {
		return fail(err)
	}
	if std.In != nil {
		std.In = nil // consumed by execIO
		go func() {
			if w, ok := proc.IO().(*stdinIO); ok {
				<-w.inputEnded
				_ = proc.CloseIO(life, withStdinCloser)
			}
		}()
	}
	if err := proc.Start(life); err != nil {
		return fail(err)
	}
	if std.Resize != nil && std.TTY {
		go resizeLoop(life, std.Resize, proc.Resize)
	}
	select {
	case st := <-exited:
		code, _, err := st.Result()
		if err != nil {
			return fail(err)
		}
		// All output first; a background child may hold the streams open for ever.
		drained := make(chan struct{})
		go func() { proc.IO().Wait(); close(drained) }()
		select {
		case <-drained:
		case <-ctx.Done():
		case <-time.After(drainTimeout):
		}
		return int(code), nil
	case <-ctx.Done():
		if err := proc.Kill(life, syscall.SIGKILL); err != nil && !errdefs.IsNotFound(err) {
			d.log.Debug("cannot kill an exec process", "container", id, "err", err)
		}
		return fail(ctx.Err())
	}
}

// stdinIO tells when the input of an exec has ended.
type stdinIO struct {
	cio.IO
	inputEnded chan struct{}
}

// eofReader closes ended at the end of its reader.
type eofReader struct {
	r     io.Reader
	once  sync.Once
	ended chan struct{}
}

func (e *eofReader) Read(p []byte) (int, error) {
	n, err := e.r.Read(p)
	if err != nil {
		e.once.Do(func() { close(e.ended) })
	}
	return n, err
}

func execIO(dir string, std driver.Stdio) cio.Creator {
	return func(id string) (cio.IO, error) {
		opts := []cio.Opt{cio.WithFIFODir(dir)}
		in, out, errw := std.In, std.Out, std.Err
		ended := make(chan struct{})
		if in != nil {
			in = &eofReader{r: in, ended: ended}
		}
		if out == nil {
			out = io.Discard
		}
		if errw == nil {
			errw = io.Discard
		}
		opts = append(opts, cio.WithStreams(in, out, errw))
		if std.TTY {
			opts = append(opts, cio.WithTerminal)
		}
		inner, err := cio.NewCreator(opts...)(id)
		if err != nil {
			return nil, err
		}
		return &stdinIO{IO: inner, inputEnded: ended}, nil
	}
}

// PortForward implements driver.PortForwarder.
func (d *Driver) PortForward(ctx context.Context, sandboxID string, port int32, stream io.ReadWriteCloser) error {
	s, err := d.sandbox(sandboxID)
	if err != nil {
		return err
	}
	defer stream.Close()
	var conn net.Conn
	dial := func() error {
		var first error
		for _, host := range []string{"127.0.0.1", "::1"} {
			var dialer net.Dialer
			c, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(host, strconv.Itoa(int(port))))
			if err == nil {
				conn = c
				return nil
			}
			if first == nil {
				first = err
			}
		}
		return first
	}
	if s.record.Config.HostNetwork {
		err = dial()
	} else {
		err = inNetNS(s.ns("net"), dial)
	}
	if err != nil {
		return fmt.Errorf("forward port %d of pod %s/%s: %w", port, s.record.Config.Namespace, s.record.Config.Name, err)
	}
	defer conn.Close()
	stopped := context.AfterFunc(ctx, func() { _, _ = conn.Close(), stream.Close() })
	defer stopped()
	back := make(chan struct{})
	go func() {
		defer close(back)
		_, _ = io.Copy(stream, conn)
	}()
	// However a side ends, that is the end of its direction and nobody's failure.
	_, _ = io.Copy(conn, stream)
	if tc, ok := conn.(*net.TCPConn); ok {
		_ = tc.CloseWrite()
	}
	<-back
	return nil
}
