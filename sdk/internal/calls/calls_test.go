package calls_test

import (
	"context"
	"errors"
	"io"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/pintle-dev/pintle/sdk/internal/calls"
)

type message struct {
	id      uint64
	text    string
	size    int
	timeout int64
}

// GetTimeoutMs implements calls.Timed.
func (m message) GetTimeoutMs() int64 { return m.timeout }

// pipe is a stream without gRPC: messages of calls one way, of results the other.
type pipe struct {
	calls, results chan []message
	ctx            context.Context
	cancel         context.CancelFunc
	asked          atomic.Int64 // messages of calls
}

func newPipe(t testing.TB, room int) *pipe {
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	return &pipe{calls: make(chan []message, room), results: make(chan []message, room), ctx: ctx, cancel: cancel}
}

func (p *pipe) send(to chan []message, m []message) error {
	if to == p.calls {
		p.asked.Add(1)
	}
	select {
	case to <- append([]message(nil), m...):
		return nil
	case <-p.ctx.Done():
		return io.ErrClosedPipe
	}
}

func (p *pipe) recv(from chan []message) ([]message, error) {
	select {
	case m := <-from:
		return m, nil
	case <-p.ctx.Done():
		return nil, io.EOF
	}
}

func (p *pipe) client() *calls.Client[message, message, string] {
	return calls.Open[message, message, string](calls.Stream[message, message]{
		Send: func(m []message) error { return p.send(p.calls, m) },
		Recv: func() ([]message, func(), error) { m, err := p.recv(p.results); return m, nil, err },
		ID:   func(m message) uint64 { return m.id },
		Size: func(m message) int { return m.size + len(m.text) }, Context: p.ctx, Cancel: p.cancel,
	})
}

func (p *pipe) serve(handle func(context.Context, message) message) error {
	return calls.Serve(p.ctx, calls.Service[message, message]{
		Recv:   func() ([]message, error) { return p.recv(p.calls) },
		Send:   func(m []message) error { return p.send(p.results, m) },
		Handle: handle, Size: func(m message) int { return len(m.text) },
	}, nil)
}

func echo(_ context.Context, m message) message { return message{id: m.id, text: m.text + "!"} }

// goroutine is the number of the one that runs.
func goroutine() string {
	b := make([]byte, 32)
	return strings.Fields(string(b[:runtime.Stack(b, false)]))[1]
}

func call(ctx context.Context, c *calls.Client[message, message, string], text string, size int) (string, error) {
	r, err := c.Call(ctx, 0, "", func(id uint64) message { return message{id: id, text: text, size: size} })
	return r.text, err
}

// Whatever the calls' sizes, the stream's room and the order of answers, each caller gets the
// answer to its own call.
func TestEachCallerGetsItsOwnAnswer(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		p := newPipe(t, rapid.IntRange(0, 3).Draw(rt, "room"))
		served := make(chan error, 1)
		go func() { served <- p.serve(echo) }()
		c := p.client()
		n := rapid.IntRange(1, 300).Draw(rt, "calls")
		sizes := rapid.SliceOfN(rapid.SampledFrom([]int{0, 100, 40 << 10, 2 << 20}), n, n).Draw(rt, "sizes")
		var all sync.WaitGroup
		for i, size := range sizes {
			all.Go(func() {
				text := string(rune('a' + i%26))
				if got, err := call(t.Context(), c, text, size); err != nil || got != text+"!" {
					t.Errorf("%q, %v", got, err)
				}
			})
		}
		all.Wait()
		c.Close()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
}

func TestCallsThatGatherGoOutTogether(t *testing.T) {
	p := newPipe(t, 0)
	c := p.client()
	var all sync.WaitGroup
	const n = 200
	for range n {
		all.Go(func() {
			if _, err := call(t.Context(), c, "x", 0); err != nil {
				t.Error(err)
			}
		})
	}
	for c.Waiting() < n {
		time.Sleep(time.Millisecond) // nothing announces that a caller has queued its call
	}
	go func() { _ = p.serve(echo) }()
	all.Wait()
	if asked := p.asked.Load(); asked > 3 {
		t.Errorf("%d calls that waited for the same took %d messages", n, asked)
	}
	c.Close()
}

func TestCallersKeepTheirDeadlineWhereTheOtherEndTakesNothing(t *testing.T) {
	p := newPipe(t, 1) // as a stream's window: the first message goes in
	c := p.client()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	var all sync.WaitGroup
	for i := range 100 {
		all.Go(func() {
			if _, err := call(ctx, c, "x", 33<<10); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("call %d: %v", i, err)
			}
		})
	}
	done := make(chan struct{})
	go func() { all.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Fatal("callers are stuck in sending")
	}
	c.Close()
}

func TestTheEndOfTheStreamEndsCalls(t *testing.T) {
	p := newPipe(t, 1)
	c := p.client()
	reached := make(chan struct{})
	served := make(chan error, 1)
	go func() {
		served <- p.serve(func(ctx context.Context, m message) message {
			close(reached)
			<-ctx.Done()
			return m
		})
	}()
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
	if err := <-served; err != nil {
		t.Errorf("the serving end: %v", err)
	}
	if _, err := call(t.Context(), c, "x", 0); !errors.Is(err, calls.ErrGone) {
		t.Errorf("a later call: %v", err)
	}
}

func TestAnAnswerThatIsLateHarmsNobody(t *testing.T) {
	p := newPipe(t, 1)
	c := p.client()
	release := make(chan struct{})
	go func() {
		_ = p.serve(func(_ context.Context, m message) message {
			if m.text == "slow" {
				<-release
			}
			return m
		})
	}()
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := call(ctx, c, "slow", 0); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	if _, ok := c.Kept(1); ok {
		t.Error("what a caller kept is kept when it has gone")
	}
	close(release)
	if got, err := call(t.Context(), c, "fast", 0); err != nil || got != "fast" {
		t.Errorf("%q, %v", got, err)
	}
	c.Close()
}
