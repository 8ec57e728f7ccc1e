package clients

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"os"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"github.com/pintle-dev/pintle/test/process"
)

// A server that is told to stop while many write, read and watch answers whoever it has begun
// to serve, loses nothing that it has acknowledged, ends watches without an error, and says
// nothing of errors, with plugins or without. With a delay it is not ready first and serves on.
func TestOrdinaryStop(t *testing.T) {
	for _, c := range []struct {
		name, config string
		delay        time.Duration
	}{
		{name: "at once", config: "plugins: []\n"},
		{name: "after a delay", config: "api: {shutdownDelay: 1s}\nplugins: [{name: scheduler}, {name: workloads}]\n", delay: time.Second},
	} {
		t.Run(c.name, func(t *testing.T) { testStop(t, c.config, c.delay) })
	}
}

func testStop(t *testing.T, config string, delay time.Duration) {
	s := process.Start(t, process.Pintle(), config)
	begun := len(s.Log())
	l := &load{t: t, server: s, acknowledged: map[string]int{}}
	for i := range 8 {
		l.run(func(c *http.Client) { l.write(c, fmt.Sprintf("w%d", i)) })
	}
	for range 4 {
		l.run(l.read)
		l.run(l.watch)
	}
	process.Eventually(t, 30*time.Second, "all are at work", func() error {
		if n := l.writes.Load(); n < 200 || l.events.Load() < 200 || l.reads.Load() < 20 {
			return fmt.Errorf("%d writes, %d events, %d reads", n, l.events.Load(), l.reads.Load())
		}
		return nil
	})

	s.Signal(syscall.SIGTERM)
	told := time.Now()
	if delay > 0 {
		probe := l.client()
		process.Eventually(t, delay, "/readyz fails", func() error {
			resp, err := probe.Get("https://" + s.Address + "/readyz")
			if err != nil {
				t.Fatalf("a server that is to stop only after %v: %v", delay, err)
			}
			body, err := io.ReadAll(resp.Body)
			if err := errors.Join(err, resp.Body.Close()); err != nil {
				t.Fatal(err)
			}
			if resp.StatusCode != http.StatusInternalServerError || !strings.Contains(string(body), "[-]shutdown failed") {
				return fmt.Errorf("%s: %s", resp.Status, body)
			}
			return nil
		})
		before := l.writes.Load()
		process.Eventually(t, delay, "what is not ready serves on", func() error {
			if l.writes.Load() < before+10 {
				return errors.New("no write")
			}
			return nil
		})
	}
	select {
	case <-s.Ended():
	case <-time.After(delay + 20*time.Second):
		t.Fatal("the server does not end")
	}
	if took := time.Since(told); took < delay || took > delay+8*time.Second {
		t.Errorf("the server ended %v after it was told to", took)
	}
	if code := s.ExitCode(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	l.all.Wait()
	if bad := errorLines.FindAllString(s.Log()[begun:], -1); len(bad) > 0 {
		t.Errorf("the log of an ordinary stop has errors: %q", bad)
	}
	t.Logf("%d writes, %d reads, %d events", l.writes.Load(), l.reads.Load(), l.events.Load())

	s.Start()
	l.checkKept()
}

// errorLines are those of slog and of klog.
var errorLines = regexp.MustCompile(`(?m)^(E\d{4} .*|.*level=ERROR.*)$`)

// load is what clients do until the server is gone.
type load struct {
	t      *testing.T
	server *process.Server
	all    sync.WaitGroup

	writes, reads, events atomic.Int64

	mu sync.Mutex
	// acknowledged is the last value of each object that a client knows to be written.
	acknowledged map[string]int
}

func (l *load) run(f func(*http.Client)) {
	client := l.client()
	l.all.Go(func() { f(client) })
}

// client has connections of its own, as each process has.
func (l *load) client() *http.Client {
	l.t.Helper()
	own := l.server.ClientConfig()
	own.Dial = (&net.Dialer{}).DialContext
	transport, err := rest.TransportFor(own)
	if err != nil {
		l.t.Fatal(err)
	}
	return &http.Client{Transport: transport}
}

// errRefused says that a request was not taken.
var errRefused = errors.New("refused")

// do sends a request and reads its answer. An answer that tells when to come again is a
// refusal, as is a connection that can't be made; one that breaks under a request is not.
func (l *load) do(c *http.Client, method, path, body string) ([]byte, error) {
	var sent atomic.Bool
	ctx := httptrace.WithClientTrace(context.Background(), &httptrace.ClientTrace{
		GetConn:      func(string) { sent.Store(false) },
		WroteHeaders: func() { sent.Store(true) },
	})
	req, err := http.NewRequestWithContext(ctx, method, "https://"+l.server.Address+path, bytes.NewReader([]byte(body)))
	if err != nil {
		return nil, err
	}
	resp, err := c.Do(req)
	if err != nil {
		if sent.Load() {
			return nil, fmt.Errorf("a request that was begun was not answered: %w", err)
		}
		return nil, errRefused
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
		return nil, fmt.Errorf("an answer broke: %w", err)
	case resp.StatusCode == http.StatusServiceUnavailable && resp.Header.Get("Retry-After") != "":
		return nil, errRefused
	case resp.StatusCode >= 300:
		return nil, fmt.Errorf("%s: %s", resp.Status, data)
	}
	return data, nil
}

const objects = "/api/v1/namespaces/default/configmaps"

// write makes objects and changes each once.
func (l *load) write(c *http.Client, prefix string) {
	for i := 0; ; i++ {
		name := fmt.Sprintf("%s-%d", prefix, i)
		for n, send := range [...]struct{ method, path string }{{http.MethodPost, objects}, {http.MethodPut, objects + "/" + name}} {
			body := fmt.Sprintf(`{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":%q},"data":{"n":"%d"}}`, name, n+1)
			if _, err := l.do(c, send.method, send.path, body); err != nil {
				if !errors.Is(err, errRefused) {
					l.t.Errorf("%s %s: %v", send.method, send.path, err)
				}
				return
			}
			l.mu.Lock()
			l.acknowledged[name] = n + 1
			l.mu.Unlock()
			l.writes.Add(1)
		}
	}
}

func (l *load) read(c *http.Client) {
	for {
		if _, err := l.do(c, http.MethodGet, objects+"?limit=100", ""); err != nil {
			if !errors.Is(err, errRefused) {
				l.t.Errorf("list: %v", err)
			}
			return
		}
		l.reads.Add(1)
	}
}

// watch reads a stream to its end, which is that of the server.
func (l *load) watch(c *http.Client) {
	resp, err := c.Get("https://" + l.server.Address + objects + "?watch=true&resourceVersion=0")
	if err != nil {
		l.t.Errorf("watch: %v", err)
		return
	}
	defer resp.Body.Close()
	decoder := json.NewDecoder(resp.Body)
	for {
		var event struct {
			Type   string `json:"type"`
			Object struct {
				Message string `json:"message"`
			} `json:"object"`
		}
		switch err := decoder.Decode(&event); {
		case errors.Is(err, io.EOF):
			return
		case err != nil:
			l.t.Errorf("a watch ended with %v", err)
			return
		case event.Type == "ERROR":
			l.t.Errorf("a watch ended with the event %+v", event)
			return
		}
		l.events.Add(1)
	}
}

// checkKept compares what was acknowledged with what is there after the next start. What was
// written last may be newer than its client knows.
func (l *load) checkKept() {
	l.t.Helper()
	data, err := l.do(l.client(), http.MethodGet, objects, "")
	if err != nil {
		l.t.Fatal(err)
	}
	var list struct {
		Items []struct {
			Metadata struct {
				Name string `json:"name"`
			} `json:"metadata"`
			Data struct {
				N json.Number `json:"n"`
			} `json:"data"`
		} `json:"items"`
	}
	if err := json.Unmarshal(data, &list); err != nil {
		l.t.Fatal(err)
	}
	kept := map[string]int64{}
	for _, o := range list.Items {
		kept[o.Metadata.Name], _ = o.Data.N.Int64()
	}
	for name, n := range l.acknowledged {
		if kept[name] < int64(n) {
			l.t.Errorf("%s was written with %d; after a restart it is %d", name, n, kept[name])
		}
	}
}

// A server whose directory was removed under it can keep nothing, but it ends when it is
// told to and says why it fails.
func TestStopWithoutDirectory(t *testing.T) {
	s := process.Start(t, process.Pintle(), "plugins: []\n")
	// The server may still make files.
	process.Eventually(t, 10*time.Second, "the directory is removed", func() error { return os.RemoveAll(s.Data()) })
	s.Signal(syscall.SIGTERM)
	select {
	case <-s.Ended():
	case <-time.After(15 * time.Second):
		t.Fatal("the server does not end")
	}
	if code := s.ExitCode(); code == 0 || !strings.Contains(s.Log(), "its files have been removed") {
		t.Errorf("exit code %d", code)
	}
}
