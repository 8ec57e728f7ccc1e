package containerd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/errdefs"
	"github.com/containerd/fifo"

	"github.com/pintle-dev/pintle/runtime/logs"
	driver "github.com/pintle-dev/pintle/sdk/runtimedriver"
)

// drainTimeout is how long the last output of an ended container is waited for. A
// process that it left behind may hold the FIFO open for ever.
const drainTimeout = 3 * time.Second

// containerIO carries a container's output to its log and to whoever is attached.
type containerIO struct {
	c *container

	mu     sync.Mutex
	log    *logs.Writer
	closer []io.Closer
	stdin  io.WriteCloser
	subs   map[*subscriber]struct{}
	ended  bool
	pumps  sync.WaitGroup
}

// subscriber is one attached client.
type subscriber struct {
	ch chan chunk
	// lost is closed when the client was too slow or the container's output ended.
	gone chan struct{}
	once sync.Once
}

type chunk struct {
	stream string
	data   []byte
}

func newContainerIO(c *container) *containerIO {
	return &containerIO{c: c, subs: map[*subscriber]struct{}{}}
}

func (i *containerIO) fifoSet() *cio.FIFOSet {
	r := i.c.record
	cfg := cio.Config{Terminal: r.TTY, Stdout: filepath.Join(i.c.dir, "stdout")}
	if !r.TTY {
		cfg.Stderr = filepath.Join(i.c.dir, "stderr")
	}
	if r.Stdin {
		cfg.Stdin = filepath.Join(i.c.dir, "stdin")
	}
	return cio.NewFIFOSet(cfg, nil)
}

// creator hands the FIFOs to containerd without copying anything itself.
func (i *containerIO) creator(string) (cio.IO, error) { return cio.Load(i.fifoSet()) }

// open makes the FIFOs where they do not exist and begins to read them.
func (i *containerIO) open(ctx context.Context, cfg logs.WriterConfig) (err error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.c.record.LogPath != "" {
		if i.log, err = logs.NewWriter(i.c.record.LogPath, cfg); err != nil {
			return err
		}
	}
	set := i.fifoSet()
	if set.Stdin != "" {
		f, err := fifo.OpenFifo(ctx, set.Stdin, syscall.O_WRONLY|syscall.O_CREAT|syscall.O_NONBLOCK, 0o600)
		if err != nil {
			return fmt.Errorf("open stdin of the container: %w", err)
		}
		i.stdin = f
		i.closer = append(i.closer, f)
	}
	for _, s := range []struct{ stream, path string }{{logs.Stdout, set.Stdout}, {logs.Stderr, set.Stderr}} {
		if s.path == "" {
			continue
		}
		f, err := fifo.OpenFifo(ctx, s.path, syscall.O_RDONLY|syscall.O_CREAT|syscall.O_NONBLOCK, 0o600)
		if err != nil {
			return fmt.Errorf("open %s of the container: %w", s.stream, err)
		}
		i.closer = append(i.closer, f)
		i.pumps.Go(func() { i.pump(f, s.stream) })
	}
	return nil
}

// pump copies one stream until its end.
func (i *containerIO) pump(r io.Reader, stream string) {
	var split *logs.Splitter
	if i.log != nil {
		split = logs.NewSplitter(i.log, stream)
	}
	buf := make([]byte, 16<<10)
	for {
		n, err := r.Read(buf)
		if n > 0 {
			if split != nil {
				_, werr := split.Write(buf[:n])
				i.logFailed(werr)
			}
			i.fan(stream, buf[:n])
		}
		if err != nil {
			if split != nil {
				i.logFailed(split.Flush())
			}
			return
		}
	}
}

// logFailed tells the node's log that a container's output is lost. A log that has been
// closed is at its end.
func (i *containerIO) logFailed(err error) {
	if err != nil && !errors.Is(err, os.ErrClosed) {
		i.c.d.log.Warn("cannot write a container's log", "container", i.c.record.ID, "err", err)
	}
}

// fan gives a piece of output to the attached clients. One that is far behind is let go:
// a person's terminal must not stop a container.
func (i *containerIO) fan(stream string, data []byte) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for s := range i.subs {
		select {
		case s.ch <- chunk{stream, append([]byte(nil), data...)}:
		default:
			delete(i.subs, s)
			s.once.Do(func() { close(s.gone) })
		}
	}
}

func (i *containerIO) subscribe() (*subscriber, bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.ended {
		return nil, false
	}
	s := &subscriber{ch: make(chan chunk, 1024), gone: make(chan struct{})}
	i.subs[s] = struct{}{}
	return s, true
}

func (i *containerIO) unsubscribe(s *subscriber) {
	i.mu.Lock()
	defer i.mu.Unlock()
	delete(i.subs, s)
}

// drain waits for the rest of the output after the container has ended, then closes.
func (i *containerIO) drain() {
	done := make(chan struct{})
	go func() { i.pumps.Wait(); close(done) }()
	t := time.NewTimer(drainTimeout)
	defer t.Stop()
	select {
	case <-done:
	case <-t.C:
	case <-i.c.d.base.Done():
	}
	i.release()
}

// release closes everything; output that is not read yet stays in the FIFOs for the next
// driver as long as the container's shim lives.
func (i *containerIO) release() {
	i.mu.Lock()
	closers, log := i.closer, i.log
	i.closer, i.ended = nil, true
	i.mu.Unlock()
	for _, c := range closers {
		_ = c.Close()
	}
	i.pumps.Wait()
	i.mu.Lock()
	for s := range i.subs {
		s.once.Do(func() { close(s.gone) })
	}
	clear(i.subs)
	i.mu.Unlock()
	if log != nil {
		i.logFailed(log.Close())
	}
}

// Attach implements driver.Streams.
func (d *Driver) Attach(ctx context.Context, id string, std driver.Stdio) error {
	c, err := d.container(id)
	if err != nil {
		return err
	}
	c.mu.Lock()
	task := c.task
	c.mu.Unlock()
	sub, ok := c.io.subscribe()
	if !ok || task == nil {
		return fmt.Errorf("attach to container %s: it has ended", c.record.Name)
	}
	defer c.io.unsubscribe(sub)
	ctx, cancel := context.WithCancel(d.in(ctx))
	defer cancel()
	if std.Resize != nil && c.record.TTY {
		go resizeLoop(ctx, std.Resize, task.Resize)
	}
	if std.In != nil && c.io.stdin != nil {
		go func() {
			_, err := io.Copy(c.io.stdin, std.In)
			if err == nil && c.record.StdinOnce {
				_ = c.io.stdin.Close()
				if err := task.CloseIO(ctx, withStdinCloser); err != nil && !errdefs.IsNotFound(err) {
					d.log.Warn("cannot end a container's standard input", "container", id, "err", err)
				}
			}
			if std.Out == nil && std.Err == nil {
				cancel()
			}
		}()
	}
	write := func(k chunk) error {
		w := std.Out
		if k.stream == logs.Stderr {
			w = std.Err
		}
		if w == nil {
			return nil
		}
		_, err := w.Write(k.data)
		return err
	}
	for {
		select {
		case k := <-sub.ch:
			if err := write(k); err != nil {
				return nil // the client has gone
			}
		case <-sub.gone:
			for {
				select {
				case k := <-sub.ch:
					if err := write(k); err != nil {
						return nil
					}
					continue
				default:
				}
				return nil
			}
		case <-ctx.Done():
			return nil
		}
	}
}

func resizeLoop(ctx context.Context, sizes <-chan driver.TerminalSize, resize func(ctx context.Context, w, h uint32) error) {
	for {
		select {
		case s, ok := <-sizes:
			if !ok {
				return
			}
			_ = resize(ctx, uint32(s.Width), uint32(s.Height)) // the process may have ended
		case <-ctx.Done():
			return
		}
	}
}
