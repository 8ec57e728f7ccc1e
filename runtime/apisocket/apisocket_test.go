package apisocket_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/pintle-dev/pintle/runtime/apisocket"
)

// as puts a name onto requests, as a client certificate would.
type as string

func (a as) RoundTrip(r *http.Request) (*http.Response, error) {
	r.Header.Set("X-Name", string(a))
	return http.DefaultTransport.RoundTrip(r)
}

func start(t *testing.T, api http.HandlerFunc) *apisocket.Socket {
	t.Helper()
	upstream := httptest.NewServer(api)
	t.Cleanup(upstream.Close)
	dir, err := os.MkdirTemp("", "s") // t.TempDir's paths are long for sockets
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	s, err := apisocket.Listen(filepath.Join(dir, "a"), upstream.URL, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return s
}

func client(s *apisocket.Socket) *http.Client {
	return &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", s.Path())
	}}}
}

func get(t *testing.T, c *http.Client, token, path string) *http.Response {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://localhost"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	resp, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	return resp
}

func TestEachCallerIsSpokenForByItsOwn(t *testing.T) {
	s := start(t, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s %s %s", r.Header.Get("X-Name"), r.URL, r.Header.Get("Authorization"))
	})
	c := client(s)
	one, leave := s.Admit(as("one"))
	two, _ := s.Admit(as("two"))
	for token, want := range map[string]string{one: "one /api?a=b ", two: "two /api?a=b "} {
		b, err := io.ReadAll(get(t, c, token, "/api?a=b").Body)
		if err != nil || string(b) != want {
			t.Errorf("got %q, %v; want %q", b, err, want)
		}
	}
	for _, token := range []string{"", "x", one + "x"} {
		if resp := get(t, c, token, "/"); resp.StatusCode != http.StatusUnauthorized {
			t.Errorf("token %q: %s", token, resp.Status)
		}
	}
	leave()
	if resp := get(t, c, one, "/"); resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("after it has left: %s", resp.Status)
	}
}

func TestWatchesFlowUntilTheCallerIsShownOut(t *testing.T) {
	more := make(chan string)
	ended := make(chan struct{})
	s := start(t, func(w http.ResponseWriter, r *http.Request) {
		defer close(ended)
		for {
			select {
			case line := <-more:
				_, _ = fmt.Fprintln(w, line)
				_ = http.NewResponseController(w).Flush()
			case <-r.Context().Done():
				return
			}
		}
	})
	token, leave := s.Admit(as("one"))
	go func() { more <- "first" }()
	lines := bufio.NewScanner(get(t, client(s), token, "/watch").Body)
	for _, want := range []string{"first", "second"} {
		if !lines.Scan() || lines.Text() != want {
			t.Fatalf("got %q, %v; want %q", lines.Text(), lines.Err(), want)
		}
		if want == "first" {
			more <- "second"
		}
	}
	leave()
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		t.Fatal("the watch goes on")
	}
}

func TestOneCallerCantTakeAll(t *testing.T) {
	release := make(chan struct{})
	s := start(t, func(http.ResponseWriter, *http.Request) { <-release })
	greedy, _ := s.Admit(as("greedy"))
	modest, _ := s.Admit(as("modest"))
	c := client(s)
	codes := make(chan int, 300)
	for range 300 {
		go func() {
			r, _ := http.NewRequestWithContext(context.Background(), http.MethodGet, "http://localhost/", nil)
			r.Header.Set("Authorization", "Bearer "+greedy)
			resp, err := c.Do(r)
			if err != nil {
				codes <- 0
				return
			}
			_ = resp.Body.Close()
			codes <- resp.StatusCode
		}()
	}
	for range 300 - 256 { // those beyond the bound are answered while the rest waits
		if code := <-codes; code != http.StatusTooManyRequests {
			t.Fatalf("status %d", code)
		}
	}
	done := make(chan int)
	go func() { done <- get(t, c, modest, "/").StatusCode }()
	close(release)
	if code := <-done; code != http.StatusOK {
		t.Fatalf("status %d of another caller", code)
	}
	for range 256 {
		if code := <-codes; code != http.StatusOK {
			t.Fatalf("status %d", code)
		}
	}
}
