package apiservertest

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Client asks a server. What can't be sent or read ends the test.
type Client struct {
	URL  string
	HTTP *http.Client
	tb   testing.TB
}

// NewClient returns a client of the server at a URL, which shows redirects instead of
// following them.
func NewClient(tb testing.TB, url string) *Client {
	tb.Helper()
	transport := &http.Transport{}
	tb.Cleanup(transport.CloseIdleConnections)
	return &Client{url, &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, tb}
}

// On is the client for a subtest, or a fuzz target, which then is what fails.
func (c *Client) On(tb testing.TB) *Client { return &Client{c.URL, c.HTTP, tb} }

// Request makes a request as Do sends it.
func (c *Client) Request(ctx context.Context, method, path, body string, header ...string) *http.Request {
	c.tb.Helper()
	req, err := http.NewRequestWithContext(ctx, method, c.URL+path, strings.NewReader(body))
	if err != nil {
		c.tb.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	set := func(key, value string) {
		if _, said := req.Header[key]; !said {
			req.Header.Set(key, value)
		}
	}
	set("User-Agent", "tester/1.0")
	if body != "" {
		set("Content-Type", "application/json")
	}
	return req
}

// Do sends a request and reads its whole answer, within a minute. A body is JSON unless the
// header, given in pairs of key and value, says otherwise.
func (c *Client) Do(method, path, body string, header ...string) Answer {
	c.tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	resp, err := c.HTTP.Do(c.Request(ctx, method, path, body, header...))
	if err != nil {
		c.tb.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		c.tb.Fatal(err)
	}
	return Answer{resp.StatusCode, resp.Header, b, c.tb}
}

// Must is Do with the code that has to come back.
func (c *Client) Must(code int, method, path, body string, header ...string) Answer {
	c.tb.Helper()
	a := c.Do(method, path, body, header...)
	if a.Code != code {
		c.tb.Fatalf("%s %s: %d, want %d: %s", method, path, a.Code, code, a.Body)
	}
	return a
}

// Get asks for a URL, for tests of what is no whole API server.
func Get(tb testing.TB, url string, header ...string) Answer {
	tb.Helper()
	return NewClient(tb, url).Do(http.MethodGet, "", "", header...)
}

// Answer is what a server said.
type Answer struct {
	Code   int
	Header http.Header
	Body   []byte
	tb     testing.TB
}

// Object is the body as a tree; it must be one.
func (a Answer) Object() map[string]any {
	a.tb.Helper()
	var o map[string]any
	if err := json.Unmarshal(a.Body, &o); err != nil {
		a.tb.Fatalf("%d, not JSON (%v): %s", a.Code, err, a.Body)
	}
	return o
}

// Message of a Status, "" of what has none.
func (a Answer) Message() string {
	a.tb.Helper()
	s, _ := a.Object()["message"].(string)
	return s
}

// At returns what is at a dotted path in a tree, nil where there is nothing. Items of lists
// are named by their number.
func At(tree any, path string) any {
	for key := range strings.SplitSeq(path, ".") {
		switch t := tree.(type) {
		case map[string]any:
			tree = t[key]
		case []any:
			i, err := strconv.Atoi(key)
			if err != nil || i < 0 || i >= len(t) {
				return nil
			}
			tree = t[i]
		default:
			return nil
		}
	}
	return tree
}
