package calls_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/pintle-dev/pintle/sdk/internal/calls"
	pluginv1 "github.com/pintle-dev/pintle/sdk/proto/plugin/v1"
	"github.com/pintle-dev/pintle/sdk/protocol"
)

// TestMain lets the test binary play the process at the other end of lines.
func TestMain(m *testing.M) {
	if accept := calls.Inherited(); accept != nil {
		_ = serverOf(echo).Serve(context.Background(), accept)
		return
	}
	os.Exit(m.Run())
}

// answers serves calls whose texts are in tokens, on a stream that is carried by gRPC in the product.
type answers struct {
	pluginv1.UnimplementedAuthenticationServer
	handle func(context.Context, message) message
	ended  chan error // nil where nobody wants to know
}

func (a answers) Tokens(stream grpc.BidiStreamingServer[pluginv1.TokensRequest, pluginv1.TokensResponse]) error {
	err := calls.Serve(stream.Context(), calls.Service[message, message]{
		Recv: func() ([]message, error) {
			m, err := stream.Recv()
			var out []message
			for _, q := range m.GetQuestions() {
				out = append(out, message{id: q.GetId(), text: q.GetToken(), timeout: q.GetTimeoutMs()})
			}
			return out, err
		},
		Send: func(ms []message) error {
			out := &pluginv1.TokensResponse{}
			for _, m := range ms {
				out.Answers = append(out.Answers, &pluginv1.TokenAnswer{Id: m.id, Error: m.text})
			}
			return stream.Send(out)
		},
		Handle: a.handle, Size: func(m message) int { return len(m.text) },
	}, nil)
	if a.ended != nil {
		a.ended <- err
	}
	return err
}

func serverOf(handle func(context.Context, message) message) *calls.LineServer {
	s := &calls.LineServer{}
	pluginv1.RegisterAuthenticationServer(s, answers{handle: handle})
	return s
}

type client = calls.Client[message, message, string]

// clientOf opens a client on a line.
func clientOf(t testing.TB, dial calls.Dial) *client { return clientWith(t, dial, nil) }

// clientWith has something to be done with some results.
func clientWith(t testing.TB, dial calls.Dial, rest func(message) func()) *client {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	stream, err := pluginv1.NewAuthenticationClient(&calls.Conn{Dial: dial}).Tokens(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return calls.Open[message, message, string](calls.Stream[message, message]{
		Send: func(ms []message) error {
			out := &pluginv1.TokensRequest{}
			for _, m := range ms {
				out.Questions = append(out.Questions, &pluginv1.TokenQuestion{
					Id: m.id, Token: m.text, TimeoutMs: m.timeout, Audiences: []string{strings.Repeat("x", m.size)},
				})
			}
			return stream.Send(out)
		},
		Recv: func() ([]message, func(), error) {
			m, err := stream.Recv()
			var out []message
			for _, a := range m.GetAnswers() {
				out = append(out, message{id: a.GetId(), text: a.GetError()})
			}
			if rest != nil && len(out) > 0 {
				return out, rest(out[0]), err
			}
			return out, nil, err
		},
		ID:      func(m message) uint64 { return m.id },
		Size:    func(m message) int { return m.size + len(m.text) },
		Context: stream.Context(), Cancel: cancel,
	})
}

// bounded is a context after which a test is stuck.
func bounded(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func TestCallsOverALineToAProcess(t *testing.T) {
	lines, err := calls.NewLines()
	if err != nil {
		t.Skip(err)
	}
	defer lines.Close()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Stderr = os.Stderr
	if err := lines.Pass(cmd); err != nil {
		t.Fatal(err)
	}
	err = cmd.Start()
	lines.Passed()
	if err != nil {
		t.Fatal(err)
	}
	ctx := bounded(t)
	a, b := clientOf(t, lines.Dial), clientOf(t, lines.Dial)
	for _, c := range []*client{a, b} {
		for _, size := range []int{0, 100 << 10, 5 << 20} {
			if got, err := call(ctx, c, "hello", size); err != nil || got != "hello!" {
				t.Errorf("%d bytes: %q, %v", size, got, err)
			}
		}
	}
	a.Close()
	if got, err := call(ctx, b, "still there", 0); err != nil || got != "still there!" {
		t.Errorf("after another line was closed: %q, %v", got, err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-b.Done():
	case <-ctx.Done():
		t.Error("the death of the process is not seen")
	}
	_ = cmd.Wait()
}

// A process that was started by somebody in between has something else where the socket was.
func TestALineIsNotTakenForAnotherFile(t *testing.T) {
	for _, said := range []string{"", "3", "0:1", "3:1", "99:1", "x:y", "-1:7"} {
		t.Setenv(protocol.LineEnv, said)
		if calls.Inherited() != nil {
			t.Errorf("%q is taken for a line", said)
		}
	}
}

func TestCallsOfAllSizesAtTheSameTimeOverALine(t *testing.T) {
	c := clientOf(t, serverOf(echo).Local(t.Context()))
	ctx := bounded(t)
	var all sync.WaitGroup
	for i := range 200 {
		all.Go(func() {
			text := strings.Repeat(string(rune('a'+i%26)), 1+i%50)
			if got, err := call(ctx, c, text, []int{0, 10, 3000, 40 << 10, 300 << 10}[i%5]); err != nil || got != text+"!" {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
	all.Wait()
	c.Close()
}

// A call that takes long, or waits for another, does not keep those that come after it from being
// handled.
func TestASlowCallOverALineHoldsNobodyUp(t *testing.T) {
	release := make(chan struct{})
	c := clientOf(t, serverOf(func(_ context.Context, m message) message {
		if m.text == "slow" {
			<-release
		}
		return m
	}).Local(t.Context()))
	ctx := bounded(t)
	for range 3 {
		slow := make(chan error, 1)
		go func() {
			_, err := call(ctx, c, "slow", 0)
			slow <- err
		}()
		for range 20 {
			if _, err := call(ctx, c, "fast", 0); err != nil {
				t.Fatal(err)
			}
		}
		release <- struct{}{}
		if err := <-slow; err != nil {
			t.Fatal(err)
		}
	}
	c.Close()
}

func TestCallersKeepTheirDeadlineWhereALineTakesNothing(t *testing.T) {
	// Nobody reads at the other end.
	c := clientOf(t, func(ctx context.Context, _ string) (grpc.ClientStream, error) {
		return calls.Unserved(ctx)
	})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	var all sync.WaitGroup
	for i := range 60 {
		all.Go(func() {
			within, timeout := ctx, time.Duration(0)
			if i%2 == 0 {
				within, timeout = t.Context(), 30*time.Millisecond
			}
			_, err := c.Call(within, timeout, "", func(id uint64) message {
				return message{id: id, size: []int{10, 33 << 10, 4 << 20}[i%3]}
			})
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("call %d: %v", i, err)
			}
		})
	}
	done := make(chan struct{})
	go func() { all.Wait(); close(done) }()
	select {
	case <-done:
	case <-bounded(t).Done():
		t.Fatal("callers are stuck in sending")
	}
	c.Close()
}

func TestTheEndOfALineEndsWhatItCarries(t *testing.T) {
	reached, gone := make(chan struct{}, 1), make(chan error, 1)
	s, ended := &calls.LineServer{}, make(chan error, 1)
	pluginv1.RegisterAuthenticationServer(s, answers{ended: ended, handle: func(ctx context.Context, m message) message {
		reached <- struct{}{}
		<-ctx.Done()
		gone <- ctx.Err()
		return m
	}})
	c := clientOf(t, s.Local(t.Context()))
	failed := make(chan error, 1)
	go func() {
		_, err := call(t.Context(), c, "x", 0)
		failed <- err
	}()
	<-reached
	c.Close()
	if err := <-failed; !errors.Is(err, calls.ErrGone) {
		t.Errorf("a call under way: %v", err)
	}
	if err := <-gone; !errors.Is(err, context.Canceled) {
		t.Errorf("who handled it: %v", err)
	}
	if err := <-ended; err != nil {
		t.Errorf("the serving end: %v", err)
	}
}

func TestHandlersHearThatTimeIsOver(t *testing.T) {
	heard := make(chan error, 1)
	c := clientOf(t, serverOf(func(ctx context.Context, m message) message {
		if d, ok := ctx.Deadline(); !ok || time.Until(d) > time.Minute {
			t.Errorf("deadline %v, %v", d, ok)
		}
		if err := ctx.Err(); err != nil {
			t.Errorf("at the beginning: %v", err)
		}
		child, cancel := context.WithTimeout(ctx, time.Hour)
		defer cancel()
		<-child.Done()
		heard <- errors.Join(child.Err(), ctx.Err(), context.Cause(ctx))
		return m
	}).Local(t.Context()))
	ctx := bounded(t)
	if _, err := c.Call(ctx, 0, "", func(id uint64) message { return message{id: id, timeout: 5} }); err != nil {
		t.Fatal(err)
	}
	if err := <-heard; !errors.Is(err, context.DeadlineExceeded) || strings.Contains(err.Error(), "canceled") {
		t.Errorf("heard: %v", err)
	}
	c.Close()
}

func TestAStreamThatIsNotServedIsRefused(t *testing.T) {
	stream, err := pluginv1.NewAuthorizationClient(&calls.Conn{Dial: serverOf(echo).Local(t.Context())}).Decisions(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); status.Code(err) != codes.Unimplemented {
		t.Errorf("error: %v", err)
	}
}

// frame makes a frame as a plugin might that keeps to nothing.
func frame(kind byte, size uint32, payload string) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{kind}, size), payload...)
}

func TestWhatAHostilePluginSendsEndsTheStream(t *testing.T) {
	ok, err := proto.Marshal(&pluginv1.TokensResponse{Answers: []*pluginv1.TokenAnswer{{Id: 7}}})
	if err != nil {
		t.Fatal(err)
	}
	good := frame(0, uint32(len(ok)), string(ok)) //nolint:gosec // small
	for name, c := range map[string]struct {
		sent []byte
		want string // of the error after the good frame
	}{
		"nothing":           {nil, "gone"},
		"half a head":       {[]byte{0, 0}, "unexpected EOF"},
		"half a frame":      {frame(0, 100, "abc"), "unexpected EOF"},
		"a huge length":     {frame(0, 1<<32-1, "abc"), "larger than max"},
		"one byte too long": {frame(0, protocol.MaxMessageBytes+1, ""), "larger than max"},
		"garbage":           {frame(0, 4, "\xff\xff\xff\xff"), "broken"},
		"an unknown kind":   {frame(3, 1, "x"), "kind 0x3"},
		"an end of garbage": {frame(0x80, 2, "\xff\xff"), "the stream's end"},
		"HTTP":              {[]byte("HTTP/1.1 200 OK\r\n\r\n"), "larger than max"},
		"the end, and more": {append(frame(0x80, 0, ""), "more"...), "EOF"},
		"as long as may be": {frame(0, protocol.MaxMessageBytes, "abc"), "unexpected EOF"},
	} {
		t.Run(name, func(t *testing.T) {
			local, far := calls.OpenRaw(bounded(t))
			go func() {
				_, _ = far.Write(append(slices.Clone(good), c.sent...))
				_ = far.Close()
			}()
			m := &pluginv1.TokensResponse{}
			if err := local.RecvMsg(m); err != nil || m.GetAnswers()[0].GetId() != 7 {
				t.Fatalf("the good frame: %v, %v", m, err)
			}
			if err := local.RecvMsg(m); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error: %v, want %q", err, c.want)
			}
		})
	}
}

// Whatever comes in whatever pieces: the reader gives the frames that are there and then an error, and
// takes no more memory than has come.
func FuzzFrames(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x00\x03abc\x80\x00\x00\x00\x00"), uint8(1))
	f.Add(frame(0, 1<<31, "abc"), uint8(3))
	f.Add(append(frame(0, 0, ""), frame(9, 20000, strings.Repeat("x", 20000))...), uint8(200))
	f.Fuzz(func(t *testing.T, b []byte, piece uint8) {
		const longest = 1 << 16
		want, rest := [][]byte{}, b
		for len(rest) >= 5 {
			n := int(binary.BigEndian.Uint32(rest[1:]))
			if n > longest || len(rest) < 5+n {
				break
			}
			want, rest = append(want, rest[:5+n]), rest[5+n:]
		}
		next, held := calls.Frames(&pieces{b, int(piece)%31 + 1}, longest)
		for _, w := range want {
			kind, payload, err := next()
			if err != nil || kind != w[0] || !bytes.Equal(payload, w[5:]) {
				t.Fatalf("%x: kind %d, %x, %v; want %x", b, kind, payload, err, w)
			}
		}
		_, _, err := next()
		if err == nil || (len(rest) == 0) != errors.Is(err, io.EOF) {
			t.Fatalf("%x: after %d frames and with %d bytes left: %v", b, len(want), len(rest), err)
		}
		if held() > max(8<<10, 2*len(b)) {
			t.Fatalf("%d bytes are held for %d that came", held(), len(b))
		}
	})
}

// pieces gives what is to be read in pieces of n bytes.
type pieces struct {
	rest []byte
	n    int
}

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(b[:min(p.n, len(b))], p.rest)
	p.rest = p.rest[n:]
	return n, nil
}

// While calls come one after the other, they are handled where they are received: no goroutine is
// started for any.
func TestACallAloneStartsNoGoroutine(t *testing.T) {
	var where sync.Map
	var handled atomic.Int64
	c := clientOf(t, serverOf(func(_ context.Context, m message) message {
		where.Store(goroutine(), true)
		handled.Add(1)
		return m
	}).Local(t.Context()))
	ctx := bounded(t)
	for range 200 {
		if _, err := call(ctx, c, "x", 0); err != nil {
			t.Fatal(err)
		}
	}
	c.Close()
	n := 0
	where.Range(func(any, any) bool { n++; return true })
	// On a machine that is busy with other things a call may take long for no reason of its own.
	if handled.Load() != 200 || n > 100 {
		t.Errorf("%d calls were handled by %d goroutines", handled.Load(), n)
	}
}

// A plugin that answers more than a message may have ends its stream, and the host is told why.
func TestAnAnswerThatIsTooLargeEndsTheStreamWithAReason(t *testing.T) {
	s, ended := &calls.LineServer{}, make(chan error, 1)
	pluginv1.RegisterAuthenticationServer(s, answers{ended: ended, handle: func(_ context.Context, m message) message {
		m.text = strings.Repeat("x", protocol.MaxMessageBytes+1)
		return m
	}})
	stream, err := pluginv1.NewAuthenticationClient(&calls.Conn{Dial: s.Local(t.Context())}).Tokens(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&pluginv1.TokensRequest{Questions: []*pluginv1.TokenQuestion{{Id: 1}}}); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); status.Code(err) != codes.ResourceExhausted || !strings.Contains(err.Error(), "larger than max") {
		t.Errorf("error: %v", err)
	}
	<-ended
}
