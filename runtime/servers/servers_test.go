package servers_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/pintle-dev/pintle/runtime/servers"
)

// server answers every connection with its name.
func server(t *testing.T, name string) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, name)
			_ = c.Close()
		}
	}()
	return l
}

func ask(t *testing.T, dial func(context.Context, string, string) (net.Conn, error)) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	c, err := dial(ctx, "tcp", "ignored:1")
	if err != nil {
		return err.Error()
	}
	defer c.Close()
	b, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestTheNextServerIsTried(t *testing.T) {
	a, b := server(t, "a"), server(t, "b")
	file := filepath.Join(t.TempDir(), "servers.json")
	conf := servers.Config{First: a.Addr().String(), File: file, Logger: slog.New(slog.DiscardHandler)}
	l, err := servers.New(conf)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	fetched := make(chan struct{})
	go l.Keep(ctx, func(context.Context) ([]string, error) {
		defer close(fetched)
		return []string{b.Addr().String(), a.Addr().String(), "nonsense"}, nil
	})
	<-fetched
	for len(l.Addresses()) < 2 {
		select {
		case <-time.After(time.Millisecond):
		case <-ctx.Done():
		}
	}
	if got := ask(t, l.Dial); got != "a" {
		t.Fatalf("the first is %s", got)
	}
	_ = a.Close()
	if got := ask(t, l.Dial); got != "b" {
		t.Fatalf("without a: %s", got)
	}
	if first := l.Addresses()[0]; first != b.Addr().String() {
		t.Fatalf("the one that answers is not tried first: %v", l.Addresses())
	}
	// After a restart the other one is known without asking.
	deadline := time.Now().Add(10 * time.Second)
	for {
		again, err := servers.New(conf)
		if err != nil {
			t.Fatal(err)
		}
		if slices.Contains(again.Addresses(), b.Addr().String()) {
			if got := ask(t, again.Dial); got != "b" {
				t.Fatalf("after a restart: %s", got)
			}
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the list was not kept: %v", again.Addresses())
		}
		time.Sleep(time.Millisecond)
	}
}

func TestForward(t *testing.T) {
	a := server(t, "a")
	l, err := servers.New(servers.Config{First: a.Addr().String(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	near, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- l.Forward(ctx, near) }()
	var d net.Dialer
	got := ask(t, func(ctx context.Context, network, _ string) (net.Conn, error) {
		return d.DialContext(ctx, network, near.Addr().String())
	})
	if got != "a" {
		t.Fatalf("through the forwarder: %s", got)
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}
