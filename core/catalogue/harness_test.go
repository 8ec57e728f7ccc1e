package catalogue_test

import (
	"encoding/binary"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"

	"github.com/pintle-dev/pintle/core/catalogue"
)

// platform that the tests' machine is said to be.
const platform = "linux/amd64"

// elfFor makes a file with the header of an executable for an architecture.
func elfFor(arch, body string) []byte {
	b := make([]byte, 64)
	copy(b, "\x7fELF\x02\x01\x01")
	binary.LittleEndian.PutUint16(b[16:], 2)
	binary.LittleEndian.PutUint16(b[18:], map[string]uint16{"amd64": 62, "arm64": 183}[arch])
	return slices.Concat(b, []byte(body))
}

// plugin writes a directory with a plugin; files are by name, "plugin" being its binary.
func plugin(t *testing.T, version string, files map[string][]byte) string {
	t.Helper()
	dir := t.TempDir()
	writePlugin(t, dir, version, files)
	return dir
}

func writePlugin(t *testing.T, dir, version string, files map[string][]byte) {
	t.Helper()
	text := "apiVersion: core.pintle.dev/v1\nkind: PluginManifest\nname: widget\nversion: " + version +
		"\ndescription: Makes widgets.\nprotocol: 1\npoints: [controller]\n"
	write(t, filepath.Join(dir, "plugin.yaml"), []byte(text))
	for name, b := range files {
		write(t, filepath.Join(dir, name), b)
	}
}

func write(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o755); err != nil {
		t.Fatal(err)
	}
}

func one(version string) map[string][]byte {
	return map[string][]byte{"plugin": elfFor("amd64", "widget "+version)}
}

// site is a registry on loopback that may be told to misbehave.
type site struct {
	host string
	// front sees requests before the registry does; it reports whether it has answered.
	front atomic.Pointer[func(w http.ResponseWriter, r *http.Request) bool]
	// requests that it had.
	requests atomic.Int64
}

func newSite(t *testing.T, options ...registry.Option) *site {
	t.Helper()
	s := &site{}
	behind := registry.New(append([]registry.Option{registry.Logger(log.New(io.Discard, "", 0))}, options...)...)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.requests.Add(1)
		if front := s.front.Load(); front != nil && (*front)(w, r) {
			return
		}
		behind.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	s.host = strings.TrimPrefix(server.URL, "http://")
	return s
}

func (s *site) answer(f func(w http.ResponseWriter, r *http.Request) bool) {
	if f == nil {
		s.front.Store(nil)
		return
	}
	s.front.Store(&f)
}

// status answers all requests with a status.
func (s *site) status(code int) {
	s.answer(func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(code); return true })
}

func (s *site) ref(tag string) string {
	if tag == "" {
		return s.host + "/acme/widget"
	}
	return s.host + "/acme/widget:" + tag
}

func (s *site) publish(t *testing.T, dir string) string {
	t.Helper()
	_, d, err := catalogue.Publish(t.Context(), catalogue.Access{}, dir, s.ref(""))
	if err != nil {
		t.Fatal(err)
	}
	return d.String()
}

// key makes a signer with its public key.
func key(t *testing.T, kind catalogue.KeyType, name string) (*catalogue.Signer, catalogue.Key) {
	t.Helper()
	private, public, err := catalogue.GenerateKey(kind, nil)
	if err != nil {
		t.Fatal(err)
	}
	s, err := catalogue.NewSigner(private, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s, catalogue.Key{Name: name, PEM: public}
}

func newCatalogue(t *testing.T, c catalogue.Config) *catalogue.Catalogue {
	t.Helper()
	if c.Dir == "" {
		c.Dir = t.TempDir()
	}
	if c.Platform == "" {
		c.Platform = platform
	}
	c.Logger = slog.New(slog.DiscardHandler)
	out, err := catalogue.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// refused fails the test unless an error is a refusal that says something.
func refused(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Fatalf("got %v, want an error with %q", err, want)
	}
	if !catalogue.IsRefused(err) {
		t.Errorf("%v is not a refusal", err)
	}
}
