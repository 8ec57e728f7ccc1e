package load

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/pintle-dev/pintle/test/process"
)

var (
	objects = flag.Int("objects", 3000, "how many objects of 2 KiB there are")
	minutes = flag.Float64("minutes", 0, "how long writes go on")
	rate    = flag.Int("rate", 300, "writes per second")
)

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(process.Main(m, "../.."))
}

// client asks the API of a server as its administrator, over several connections.
type client struct {
	base string
	http []*http.Client
	next atomic.Uint64
}

func newClient(t *testing.T, s *process.Server, connections int) *client {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", s.Kubeconfig())
	if err != nil {
		t.Fatal(err)
	}
	c := &client{base: "https://" + s.Address}
	for range connections {
		tlsConfig, err := rest.TLSConfigFor(config)
		if err != nil {
			t.Fatal(err)
		}
		tlsConfig.ClientSessionCache = tls.NewLRUClientSessionCache(1)
		transport := &http.Transport{TLSClientConfig: tlsConfig, ForceAttemptHTTP2: true}
		t.Cleanup(transport.CloseIdleConnections)
		c.http = append(c.http, &http.Client{Transport: transport})
	}
	return c
}

// do sends a request and returns the status and the length of the answer, which is kept only
// where it is an error.
func (c *client) do(t *testing.T, method, path string, body any) (status int, size int64, text string) {
	t.Helper()
	var in io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			t.Error(err)
			return 0, 0, ""
		}
		in = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, c.base+path, in)
	if err != nil {
		t.Error(err)
		return 0, 0, ""
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.http[c.next.Add(1)%uint64(len(c.http))].Do(req)
	if err != nil {
		return 0, 0, err.Error()
	}
	defer resp.Body.Close()
	if resp.StatusCode >= http.StatusMultipleChoices {
		b, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, int64(len(b)), string(b)
	}
	n, err := io.Copy(io.Discard, resp.Body)
	if err != nil {
		return 0, n, err.Error()
	}
	return resp.StatusCode, n, ""
}

const collection = "/api/v1/namespaces/default/configmaps"

func objectName(i int) string { return fmt.Sprintf("load-%06d", i) }

// object is a ConfigMap of 2 KiB of text of which half does not compress.
func object(i, version int) map[string]any {
	var text strings.Builder
	state := uint64(i)*0x9e3779b97f4a7c15 + uint64(version)
	for text.Len() < 1700 {
		state = state*6364136223846793005 + 1442695040888963407
		fmt.Fprintf(&text, "imagePullPolicy=%016x ", state)
	}
	return map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap",
		"metadata": map[string]any{"name": objectName(i), "namespace": "default"},
		"data":     map[string]any{"text": text.String(), "version": fmt.Sprint(version)},
	}
}

// create makes all objects.
func create(t *testing.T, c *client, n int) {
	t.Helper()
	var next atomic.Int64
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n && !t.Failed(); i = int(next.Add(1)) - 1 {
				if status, _, text := c.do(t, http.MethodPost, collection, object(i, 0)); status != http.StatusCreated {
					t.Errorf("create %d: %d %s", i, status, text)
				}
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
}

// memory is what a process has, in MiB: in all (its share of what is shared), and without the
// pages of files, which the system takes back when it wants.
type memory struct{ pss, anonymous float64 }

func memoryOf(t *testing.T, pid int) memory {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		t.Skipf("memory can't be read: %v", err)
	}
	var m memory
	for line := range strings.Lines(string(b)) {
		var kib float64
		if n, _ := fmt.Sscanf(line, "Pss: %f", &kib); n == 1 {
			m.pss = kib / 1024
		}
		if n, _ := fmt.Sscanf(line, "Pss_Anon: %f", &kib); n == 1 {
			m.anonymous = kib / 1024
		}
	}
	return m
}

// diskOf is what a directory occupies, in MiB.
func diskOf(dir string) float64 {
	var n int64
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			if errors.Is(err, fs.ErrNotExist) {
				return nil // Files come and go.
			}
			return err
		}
		if fi, err := d.Info(); err == nil {
			if st, ok := fi.Sys().(*syscall.Stat_t); ok {
				n += st.Blocks * 512
			}
		}
		return nil
	})
	return float64(n) / (1 << 20)
}
