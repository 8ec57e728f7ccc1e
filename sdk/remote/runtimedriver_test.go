package remote_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pintle-dev/pintle/sdk/plugin"
	"github.com/pintle-dev/pintle/sdk/plugintest"
	"github.com/pintle-dev/pintle/sdk/runtimedriver"
)

const patience = 20 * time.Second

// bare is a driver that has only what a test sets.
type bare struct {
	runtimedriver.Driver
	exec   func(context.Context, string, []string, runtimedriver.Stdio) (int, error)
	attach func(context.Context, string, runtimedriver.Stdio) error
	list   func() []runtimedriver.Image
	events func(context.Context) (<-chan runtimedriver.Event, error)
}

func (*bare) Info() plugin.Info { return plugin.Info{Name: "bare", Version: "1.0.0"} }

func (*bare) ConfigSchema() []byte { return nil }

func (*bare) Configure(context.Context, []byte) error { return nil }

func (b *bare) Open(context.Context, plugin.Env) (runtimedriver.Driver, error) { return b, nil }

func (b *bare) Exec(ctx context.Context, id string, cmd []string, std runtimedriver.Stdio) (int, error) {
	return b.exec(ctx, id, cmd, std)
}

func (b *bare) Attach(ctx context.Context, id string, std runtimedriver.Stdio) error {
	return b.attach(ctx, id, std)
}

func (b *bare) ListImages(context.Context) ([]runtimedriver.Image, error) { return b.list(), nil }

func (b *bare) Events(ctx context.Context) (<-chan runtimedriver.Event, error) { return b.events(ctx) }

// full has what a driver may lack, too.
type full struct {
	bare
	imports func(io.Reader) ([]runtimedriver.Image, error)
	forward func(context.Context, string, int32, io.ReadWriteCloser) error
}

func (f *full) Open(context.Context, plugin.Env) (runtimedriver.Driver, error) { return f, nil }

func (f *full) ImportImages(_ context.Context, archive io.Reader) ([]runtimedriver.Image, error) {
	return f.imports(archive)
}

func (f *full) PortForward(ctx context.Context, id string, port int32, conn io.ReadWriteCloser) error {
	return f.forward(ctx, id, port, conn)
}

// far opens a driver on the other end of a connection.
func far(t *testing.T, impl runtimedriver.RuntimeDriver) runtimedriver.Driver {
	t.Helper()
	p, ok := plugintest.Start(t, impl).Client.RuntimeDriver()
	if !ok {
		t.Fatal("no runtime driver is offered")
	}
	d, err := p.Open(t.Context(), plugin.Env{})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// endless is an input without an end, which tells how much was read of it.
type endless struct{ read atomic.Int64 }

func (e *endless) Read(p []byte) (int, error) {
	e.read.Add(int64(len(p)))
	return len(p), nil
}

// stands waits until a number does not grow any more, and returns it.
func stands(t *testing.T, n *atomic.Int64) int64 {
	t.Helper()
	last, since := n.Load(), time.Now()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if now := n.Load(); now != last {
			last, since = now, time.Now()
		} else if now > 0 && time.Since(since) > 200*time.Millisecond {
			return now
		}
	}
	t.Fatalf("%d bytes and no end of it", last)
	return 0
}

// most is what may be on its way in one direction: the windows of both ends, and the pieces that
// they hold.
const most = 4 << 20

// Who does not read holds up who writes, in each direction.
func TestStreamsHoldUp(t *testing.T) {
	t.Run("input of an exec", func(t *testing.T) {
		var in endless
		d := far(t, &bare{exec: func(ctx context.Context, _ string, _ []string, _ runtimedriver.Stdio) (int, error) {
			<-ctx.Done()
			return 0, ctx.Err()
		}})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			_, err := d.Exec(ctx, "c", []string{"x"}, runtimedriver.Stdio{In: &in})
			done <- err
		}()
		if n := stands(t, &in.read); n > most {
			t.Errorf("%d bytes were read of the input of a command that reads nothing", n)
		}
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	t.Run("output of an exec", func(t *testing.T) {
		var written atomic.Int64
		over := make(chan error, 1)
		d := far(t, &bare{exec: func(_ context.Context, _ string, _ []string, std runtimedriver.Stdio) (int, error) {
			for piece := make([]byte, 1000); ; {
				n, err := std.Out.Write(piece)
				if written.Add(int64(n)); err != nil {
					over <- err
					return 0, err
				}
			}
		}})
		ctx, cancel := context.WithCancel(t.Context())
		stuck, release := io.Pipe()
		done := make(chan error, 1)
		go func() {
			_, err := d.Exec(ctx, "c", []string{"x"}, runtimedriver.Stdio{Out: release})
			done <- err
		}()
		if n := stands(t, &written); n > most {
			t.Errorf("%d bytes were taken of the output that nobody reads", n)
		}
		cancel()
		if err := stuck.Close(); err != nil {
			t.Error(err)
		}
		if err := <-done; err == nil {
			t.Error("an exec whose output could not be passed on ended well")
		}
		<-over // the driver learns that nobody listens
	})
	t.Run("an archive", func(t *testing.T) {
		var in endless
		enough := errors.New("enough")
		release := make(chan struct{})
		d := far(t, &full{imports: func(r io.Reader) ([]runtimedriver.Image, error) {
			_, err := io.ReadFull(r, make([]byte, 100))
			<-release
			return nil, errors.Join(err, enough)
		}})
		done := make(chan error, 1)
		go func() {
			_, err := d.(runtimedriver.ImageImporter).ImportImages(t.Context(), &in)
			done <- err
		}()
		if n := stands(t, &in.read); n > most {
			t.Errorf("%d bytes were read of an archive that is not taken", n)
		}
		close(release)
		if err := <-done; err == nil || err.Error() != enough.Error() {
			t.Errorf("the import: %v", err)
		}
	})
	t.Run("events", func(t *testing.T) {
		var sent atomic.Int64
		d := far(t, &bare{events: func(ctx context.Context) (<-chan runtimedriver.Event, error) {
			ch := make(chan runtimedriver.Event)
			go func() {
				defer close(ch)
				for {
					select {
					case ch <- runtimedriver.Event{Type: runtimedriver.EventExited, ContainerID: strings.Repeat("c", 1000)}:
						sent.Add(1000)
					case <-ctx.Done():
						return
					}
				}
			}()
			return ch, nil
		}})
		if _, err := d.Events(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := stands(t, &sent); n > most {
			t.Errorf("%d bytes of events were taken of which nobody hears", n)
		}
	})
}

func TestImportOfAnArchive(t *testing.T) {
	whole := bytes.Repeat([]byte("archive"), 300_000)
	d := far(t, &full{imports: func(r io.Reader) ([]runtimedriver.Image, error) {
		b, err := io.ReadAll(r)
		if !bytes.Equal(b, whole) {
			err = fmt.Errorf("%d bytes of %d came", len(b), len(whole))
		}
		return []runtimedriver.Image{{ID: "sha256:1"}}, err
	}})
	got, err := d.(runtimedriver.ImageImporter).ImportImages(t.Context(), bytes.NewReader(whole))
	if err != nil || len(got) != 1 || got[0].ID != "sha256:1" {
		t.Errorf("%+v, %v", got, err)
	}
	broken := io.MultiReader(strings.NewReader("some"), failing{})
	if _, err := d.(runtimedriver.ImageImporter).ImportImages(t.Context(), broken); err == nil || !strings.Contains(err.Error(), "read the archive: the disk is gone") {
		t.Errorf("an archive that can't be read: %v", err)
	}
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errors.New("the disk is gone") }

// A terminal is told its sizes, has no standard error of its own, and typing ends when it does.
func TestTerminal(t *testing.T) {
	sizes := make(chan runtimedriver.TerminalSize)
	d := far(t, &bare{attach: func(ctx context.Context, id string, std runtimedriver.Stdio) error {
		if id != "c" || !std.TTY || std.Err != nil {
			return fmt.Errorf("%s has %+v", id, std)
		}
		for {
			select {
			case z := <-std.Resize:
				if _, err := fmt.Fprintf(std.Out, "%dx%d ", z.Width, z.Height); err != nil {
					return err
				}
				if z.Width == 2 {
					typed, err := io.ReadAll(std.In)
					_, werr := std.Out.Write(typed)
					return errors.Join(err, werr)
				}
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}})
	out, heard := io.Pipe()
	done := make(chan error, 1)
	go func() {
		done <- d.Attach(t.Context(), "c", runtimedriver.Stdio{In: strings.NewReader("typed"), Out: heard, TTY: true, Resize: sizes})
		_ = heard.Close()
	}()
	sizes <- runtimedriver.TerminalSize{Width: 1, Height: 10}
	buf := make([]byte, 5)
	if _, err := io.ReadFull(out, buf); err != nil || string(buf) != "1x10 " {
		t.Fatalf("%q, %v", buf, err)
	}
	sizes <- runtimedriver.TerminalSize{Width: 2, Height: 20}
	rest, err := io.ReadAll(out)
	if err != nil || string(rest) != "2x20 typed" {
		t.Errorf("%q, %v", rest, err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// What is written after its command has ended goes nowhere.
func TestOutputAfterTheEnd(t *testing.T) {
	late := make(chan error, 1)
	begin := make(chan struct{})
	d := far(t, &bare{exec: func(_ context.Context, _ string, _ []string, std runtimedriver.Stdio) (int, error) {
		go func() {
			<-begin
			_, err := std.Out.Write([]byte("late"))
			late <- err
		}()
		_, err := std.Err.Write([]byte("words"))
		return 9, err
	}})
	var out, errs bytes.Buffer
	in, feed := io.Pipe() // goes on
	defer func() { _ = feed.Close() }()
	code, err := d.Exec(t.Context(), "c", []string{"x"}, runtimedriver.Stdio{In: in, Out: &out, Err: &errs})
	if code != 9 || err != nil || out.Len() > 0 || errs.String() != "words" {
		t.Errorf("%d, %v, %q, %q", code, err, out.String(), errs.String())
	}
	close(begin)
	if err := <-late; err == nil {
		t.Error("output was taken after the end")
	}
}

// Either end of a forwarded connection may say that it has no more to say, and hear the other out.
func TestPortForward(t *testing.T) {
	d := far(t, &full{forward: func(_ context.Context, id string, port int32, conn io.ReadWriteCloser) error {
		if port != 80 {
			return fmt.Errorf("sandbox %s: port %d: connection refused", id, port)
		}
		defer func() { _ = conn.Close() }()
		asked, err := io.ReadAll(conn)
		if err == nil {
			_, err = fmt.Fprintf(conn, "%d bytes", len(asked))
		}
		return err
	}})
	f, ok := d.(runtimedriver.PortForwarder)
	if !ok {
		t.Fatal("no ports are forwarded")
	}
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	ends := make(chan error, 2)
	go func() {
		for port := int32(80); port < 82; port++ {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			ends <- f.PortForward(t.Context(), "s", port, conn)
		}
	}()
	ask := func() string {
		t.Helper()
		conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		tcp, ok := conn.(*net.TCPConn)
		if !ok {
			t.Fatal("another connection")
		}
		if _, err = tcp.Write(make([]byte, 1<<20)); err == nil {
			err = tcp.CloseWrite()
		}
		if err != nil {
			return err.Error()
		}
		got, _ := io.ReadAll(tcp) // a connection that is refused may be reset
		return string(got)
	}
	if got := ask(); got != "1048576 bytes" {
		t.Errorf("it answers %q", got)
	}
	if err := <-ends; err != nil {
		t.Error(err)
	}
	_ = ask()
	if err := <-ends; err == nil || err.Error() != "sandbox s: port 81: connection refused" {
		t.Errorf("a port where nobody listens: %v", err)
	}
}

// A driver that lists without end is not listened to.
func TestListsAreBounded(t *testing.T) {
	n := 1000
	d := far(t, &bare{list: func() []runtimedriver.Image { return make([]runtimedriver.Image, n) }})
	if list, err := d.ListImages(t.Context()); err != nil || len(list) != n {
		t.Errorf("%d, %v", len(list), err)
	}
	n = 1<<17 + 1
	if list, err := d.ListImages(t.Context()); err == nil {
		t.Errorf("a list of %d", len(list))
	}
}

// What a driver lacks is said as such.
func TestWhatADriverLacks(t *testing.T) {
	d := far(t, &bare{})
	_, err := d.(runtimedriver.ImageImporter).ImportImages(t.Context(), strings.NewReader("x"))
	if !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("import: %v", err)
	}
	if _, err := d.(runtimedriver.StatsReader).ContainerStats(t.Context(), "c"); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("statistics: %v", err)
	}
	near, conn := net.Pipe()
	defer func() { _ = near.Close() }()
	if err := d.(runtimedriver.PortForwarder).PortForward(t.Context(), "s", 80, conn); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("port forward: %v", err)
	}
}
