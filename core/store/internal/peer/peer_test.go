package peer_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/pintle-dev/pintle/core/store/internal/peer"
)

// listen starts a Mux called "b" that answers with handle.
func listen(t *testing.T, handle peer.Handler) *peer.Mux {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m := peer.NewMux("b", l, nil, nil, slog.New(slog.DiscardHandler))
	m.Serve(handle)
	t.Cleanup(func() { _ = m.Close() })
	return m
}

func client(t *testing.T, notice func(string, []byte)) *peer.Client {
	t.Helper()
	c := peer.NewClient("a", nil, notice)
	t.Cleanup(c.Close)
	return c
}

func echo(_ context.Context, r peer.Request) ([]byte, error) {
	return fmt.Appendf(nil, "%s %d %s", r.From, r.Kind, r.Body), nil
}

func TestCallsShareAConnection(t *testing.T) {
	m, c := listen(t, echo), client(t, nil)
	rapid.Check(t, func(rt *rapid.T) {
		bodies := rapid.SliceOfN(rapid.StringN(0, 2000, -1), 1, 40).Draw(rt, "bodies")
		var wg sync.WaitGroup
		errs := make([]error, len(bodies))
		for i, body := range bodies {
			wg.Go(func() {
				kind := byte(i%200 + 1)
				got, err := c.Call(t.Context(), m.Addr().String(), kind, []byte(body))
				if want := fmt.Sprintf("a %d %s", kind, body); err == nil && string(got) != want {
					err = fmt.Errorf("got %q, want %q", got, want)
				}
				errs[i] = err
			})
		}
		wg.Wait()
		if err := errors.Join(errs...); err != nil {
			rt.Fatal(err)
		}
	})
}

func TestRefusalsCrossWithTheirCode(t *testing.T) {
	m := listen(t, func(_ context.Context, r peer.Request) ([]byte, error) {
		if r.Kind == 1 {
			return nil, fmt.Errorf("wrapped: %w", &peer.Refusal{Code: 7, Message: "no"})
		}
		return nil, errors.New("plain")
	})
	c := client(t, nil)
	for kind, want := range map[byte]peer.Refusal{1: {Code: 7, Message: "no"}, 2: {Message: "plain"}} {
		_, err := c.Call(t.Context(), m.Addr().String(), kind, nil)
		var r *peer.Refusal
		if !errors.As(err, &r) || *r != want {
			t.Errorf("kind %d: %v", kind, err)
		}
		if errors.Is(err, peer.ErrNoAnswer) || errors.Is(err, peer.ErrNotSent) {
			t.Errorf("kind %d: a refusal is an answer: %v", kind, err)
		}
	}
}

// Callers must know whether their request can have arrived.
func TestWhetherACallWasSent(t *testing.T) {
	got := make(chan struct{})
	m := listen(t, func(ctx context.Context, _ peer.Request) ([]byte, error) {
		close(got)
		<-ctx.Done()
		return nil, ctx.Err()
	})
	c := client(t, nil)
	address := m.Addr().String()
	failed := make(chan error, 1)
	go func() {
		_, err := c.Call(t.Context(), address, 1, []byte("x"))
		failed <- err
	}()
	<-got
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-failed; !errors.Is(err, peer.ErrNoAnswer) {
		t.Fatalf("a call whose server ends: %v", err)
	}
	if _, err := c.Call(t.Context(), address, 1, nil); !errors.Is(err, peer.ErrNotSent) {
		t.Fatalf("a call to nobody: %v", err)
	}
	silent := listen(t, func(ctx context.Context, _ peer.Request) ([]byte, error) { <-ctx.Done(); return nil, nil })
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := c.Call(ctx, silent.Addr().String(), 1, nil); !errors.Is(err, peer.ErrNoAnswer) || !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("a call that nobody answers: %v", err)
	}
}

func TestAClientDialsAnew(t *testing.T) {
	m, c := listen(t, echo), client(t, nil)
	address := m.Addr().String()
	gone, err := c.Connect(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-gone:
	case <-time.After(20 * time.Second):
		t.Fatal("the end of a connection is not noticed")
	}
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", address)
	if err != nil {
		t.Skip("the port was taken meanwhile: ", err)
	}
	again := peer.NewMux("b", l, nil, nil, slog.New(slog.DiscardHandler))
	again.Serve(echo)
	defer again.Close()
	if _, err := c.Call(t.Context(), address, 1, nil); err != nil {
		t.Fatal(err)
	}
}

func TestNotices(t *testing.T) {
	m := listen(t, func(_ context.Context, r peer.Request) ([]byte, error) {
		for i := range 3 {
			if err := r.Notify([]byte{byte(i)}); err != nil {
				return nil, err
			}
		}
		return []byte("done"), nil
	})
	var heard []byte
	c := client(t, func(_ string, b []byte) { heard = append(heard, b...) })
	if _, err := c.Call(t.Context(), m.Addr().String(), 1, nil); err != nil {
		t.Fatal(err)
	}
	if string(heard) != "\x00\x01\x02" {
		t.Fatalf("heard %v before the answer", heard)
	}
}

// Raft's connections go to Raft, if they are meant for this server.
func TestRaftsConnectionsNameWhomTheyAreFor(t *testing.T) {
	m := listen(t, echo)
	right, err := peer.DialRaft(t.Context(), m.Addr().String(), nil, "b")
	if err != nil {
		t.Fatal(err)
	}
	defer right.Close()
	taken, err := m.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := right.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 5)
	if _, err := taken.Read(b); err != nil || string(b) != "hello" {
		t.Fatalf("%q, %v", b, err)
	}
	_ = taken.Close()
	wrong, err := peer.DialRaft(t.Context(), m.Addr().String(), nil, "another")
	if err != nil {
		t.Fatal(err)
	}
	defer wrong.Close()
	_ = wrong.SetReadDeadline(time.Now().Add(20 * time.Second))
	if _, err := wrong.Read(b); err == nil || strings.Contains(err.Error(), "timeout") {
		t.Fatalf("a connection meant for another server was kept: %v", err)
	}
}
