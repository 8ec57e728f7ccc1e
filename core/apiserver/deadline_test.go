package apiserver_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/pintle-dev/pintle/core/apiserver"
	"github.com/pintle-dev/pintle/sdk/admission"
)

const tooLate = "Timeout: request did not complete within requested timeout - context deadline exceeded"

// sleeper is admission that takes longer than any request may for objects of its name.
type sleeper struct{ asked chan struct{} }

func (s sleeper) Mutate(ctx context.Context, r *admission.Request) (bool, error) {
	if r.Name != "slow" {
		return false, nil
	}
	s.asked <- struct{}{}
	<-ctx.Done()
	return false, ctx.Err()
}

func (s sleeper) limit(timeout time.Duration) func(*apiserver.Config) {
	return func(c *apiserver.Config) {
		c.Mutators = []admission.Mutator{s}
		c.Limits.RequestTimeout, c.Limits.MaxReads, c.Limits.MaxWrites = timeout, 1, 1
	}
}

func newSleeper() sleeper { return sleeper{make(chan struct{}, 10)} }

func TestRequestsEndByTheirTime(t *testing.T) {
	s := newSleeper()
	a := newAPI(t, s.limit(time.Minute))
	for _, query := range []string{"?timeout=50ms", "?timeout=0.05s"} {
		r := a.do("POST", cms+query, `{"metadata":{"name":"slow"}}`)
		o := r.object(t)
		details, ok := o["details"].(map[string]any)
		if r.code != 504 || o["reason"] != "Timeout" || o["message"] != tooLate || !ok || len(details) != 0 || r.header.Get("Retry-After") != "" {
			t.Errorf("%s: %d %v %s", query, r.code, r.header, r.body)
		}
	}
	if r := a.do("POST", cms+"?timeout=soon", `{"metadata":{"name":"x"}}`); r.code != 400 ||
		at(r.object(t), "message") != `invalid timeout specified in the request URL - time: invalid duration "soon"` {
		t.Errorf("%d %s", r.code, r.body)
	}
	for _, query := range []string{"?timeout=0s", "?timeout=-1s", "?timeout=10h"} {
		a.must(201, "POST", cms+query, `{"metadata":{"generateName":"x"}}`)
	}
}

// Who is refused for want of room is told so in upstream's words, and when to come again.
func TestRequestsInFlightAreBounded(t *testing.T) {
	s := newSleeper()
	a := newAPI(t, s.limit(time.Minute))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if resp, err := a.HTTP.Do(a.Request(ctx, "POST", cms, `{"metadata":{"name":"slow"}}`)); err == nil {
			resp.Body.Close()
		}
	}()
	<-s.asked
	r := a.do("POST", cms, `{"metadata":{"name":"x"}}`)
	if r.code != 429 || string(r.body) != "Too many requests, please try again later.\n" || r.header.Get("Retry-After") != "1" ||
		r.header.Get("Content-Type") != "text/plain; charset=utf-8" {
		t.Errorf("%d %v %q", r.code, r.header, r.body)
	}
	a.must(200, "GET", cms, "") // reads have a limit of their own
	cancel()
	<-ended
	a.withRoom(201, "POST", cms, `{"metadata":{"name":"x"}}`)
}

// withRoom sends a request until there is room for it.
func (a *api) withRoom(code int, method, path, body string) {
	a.t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; {
		r := a.do(method, path, body)
		if r.code == code {
			return
		}
		if r.code != 429 || time.Now().After(deadline) {
			a.t.Fatalf("%s %s: %d %s", method, path, r.code, r.body)
		}
	}
}

// A client that does not send its body has no place for longer than a request may take.
func TestBodiesThatDoNotCome(t *testing.T) {
	for _, protocol := range []string{"HTTP/1.1", "HTTP/2"} {
		t.Run(protocol, func(t *testing.T) {
			a := newAPI(t, newSleeper().limit(200*time.Millisecond))
			base, err := url.Parse(a.listen(t))
			if err != nil {
				t.Fatal(err)
			}
			for _, length := range []int64{100, -1} {
				never, w := io.Pipe()
				req := a.Request(t.Context(), "POST", cms, "")
				req.URL.Host = base.Host
				req.Body, req.ContentLength, req.GetBody = never, length, nil
				go func() { _, _ = w.Write([]byte(`{"metadata":`)) }()
				resp, err := client(protocol).Do(req)
				if err != nil {
					t.Fatal(err)
				}
				data, err := io.ReadAll(resp.Body)
				if resp.Body.Close(); err != nil || resp.StatusCode != http.StatusGatewayTimeout || !strings.Contains(string(data), tooLate) {
					t.Errorf("%d %s %v", resp.StatusCode, data, err)
				}
				_ = w.CloseWithError(io.ErrClosedPipe)
				a.withRoom(201, "POST", cms, `{"metadata":{"generateName":"x"}}`)
			}
		})
	}
}

// client speaks one protocol, without TLS.
func client(protocol string) *http.Client {
	var p http.Protocols
	p.SetHTTP1(protocol == "HTTP/1.1")
	p.SetUnencryptedHTTP2(protocol == "HTTP/2")
	return &http.Client{Transport: &http.Transport{Protocols: &p}}
}

// A client that does not take its answer has no place for longer, either.
func TestAnswersThatAreNotTaken(t *testing.T) {
	a := newAPI(t, newSleeper().limit(200*time.Millisecond))
	a.must(201, "POST", cms, fmt.Sprintf(`{"metadata":{"name":"big"},"data":{"k":%q}}`, bytes.Repeat([]byte("x"), 20<<10)))
	for _, path := range []string{cms + "/big", cms} {
		t.Run(path, func(t *testing.T) {
			c := stubborn(t, a, path)
			if r := a.do("GET", cms+"/big", ""); r.code != 429 {
				t.Errorf("while an answer is not taken: %d", r.code)
			}
			if err := c.reset(); err != nil {
				t.Error(err)
			}
			a.withRoom(200, "GET", cms+"/big", "")
		})
	}
}

// stubbornClient speaks HTTP/2 and takes nothing.
type stubbornClient struct {
	*http2.Framer
	conn net.Conn
}

// stubborn sends a GET and returns when its answer has begun.
func stubborn(t *testing.T, a *api, path string) *stubbornClient {
	t.Helper()
	u, err := url.Parse(a.listen(t))
	if err != nil {
		t.Fatal(err)
	}
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", u.Host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	c := &stubbornClient{http2.NewFramer(conn, conn), conn}
	var head bytes.Buffer
	h := hpack.NewEncoder(&head)
	for _, f := range [...]hpack.HeaderField{{Name: ":method", Value: "GET"}, {Name: ":scheme", Value: "http"}, {Name: ":authority", Value: u.Host}, {Name: ":path", Value: path}} {
		err = errors.Join(err, h.WriteField(f))
	}
	_, wrote := io.WriteString(conn, http2.ClientPreface)
	err = errors.Join(err, wrote, c.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0}),
		c.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: head.Bytes(), EndStream: true, EndHeaders: true}))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.until(http2.FrameHeaders); err != nil {
		t.Fatal(err)
	}
	return c
}

// until reads frames to the first of a type.
func (c *stubbornClient) until(want http2.FrameType) error {
	if err := c.conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return err
	}
	for {
		f, err := c.ReadFrame()
		if err != nil || f.Header().Type == want {
			return err
		}
	}
}

func (c *stubbornClient) reset() error { return c.until(http2.FrameRSTStream) }

// listen serves as in earnest, until the test ends.
func (a *api) listen(t *testing.T) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- a.server.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return "http://" + l.Addr().String()
}

func TestBodiesThatAreTooLarge(t *testing.T) {
	a := newAPI(t)
	body := `{"metadata":{"name":"x"},"data":{"k":"` + strings.Repeat("x", 1<<20) + `"}}`
	req := a.Request(t.Context(), "POST", cms, "")
	req.Body, req.ContentLength = io.NopCloser(strings.NewReader(body)), -1
	resp, err := a.HTTP.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusRequestEntityTooLarge || !strings.Contains(string(data), `"message":"Request entity too large: limit is 1048576","reason":"RequestEntityTooLarge"`) {
		t.Errorf("%d %s %v", resp.StatusCode, data, err)
	}
	patch := "[" + strings.Repeat(`{"op":"test","path":"/kind","value":"ConfigMap"},`, 10000) + `{"op":"remove","path":"/data"}]`
	a.must(201, "POST", cms, `{"metadata":{"name":"a"}}`)
	r := a.do("PATCH", cms+"/a", patch, "Content-Type", "application/json-patch+json")
	if r.code != 413 || at(r.object(t), "message") != "Request entity too large: The allowed maximum operations in a JSON patch is 10000, got 10001" {
		t.Errorf("%d %s", r.code, r.body)
	}
}

// Selectors of thousands of names are long, and are heard.
func TestLongPaths(t *testing.T) {
	a := newAPI(t)
	path := cms + "?labelSelector=" + url.QueryEscape("app in ("+strings.Repeat("some-application-or-other,", 8000)+"last)")
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, a.listen(t)+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, protocol := range []string{"HTTP/1.1", "HTTP/2"} {
		resp, err := client(protocol).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if resp.Body.Close(); resp.StatusCode != http.StatusOK {
			t.Errorf("%s: %s", protocol, resp.Status)
		}
	}
}
