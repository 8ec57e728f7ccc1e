package catalogue_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/pintle-dev/pintle/core/catalogue"
	"github.com/pintle-dev/pintle/core/host"
)

func dockerConfig(t *testing.T, registry, user, password string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.json")
	b, err := json.Marshal(map[string]any{"auths": map[string]any{registry: map[string]any{
		"auth": base64.StdEncoding.EncodeToString([]byte(user + ":" + password)),
	}}})
	if err != nil {
		t.Fatal(err)
	}
	write(t, path, b)
	return path
}

func TestCredentials(t *testing.T) {
	ctx := t.Context()
	// A token service that gives a token to those who know the password.
	tokens := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, ok := r.BasicAuth(); !ok || user != "me" || password != "secret" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		fmt.Fprint(w, `{"token": "let-me-in"}`)
	}))
	defer tokens.Close()
	for _, tc := range []struct {
		name, challenge string
		ok              func(r *http.Request) bool
	}{
		{"basic", `Basic realm="test"`, func(r *http.Request) bool {
			user, password, _ := r.BasicAuth()
			return user == "me" && password == "secret"
		}},
		{"token", `Bearer realm="` + tokens.URL + `/token",service="test"`, func(r *http.Request) bool {
			return r.Header.Get("Authorization") == "Bearer let-me-in"
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newSite(t)
			s.publish(t, plugin(t, "1.0.0", one("1.0.0")))
			s.answer(func(w http.ResponseWriter, r *http.Request) bool {
				if tc.ok(r) {
					return false
				}
				w.Header().Set("WWW-Authenticate", tc.challenge)
				w.WriteHeader(http.StatusUnauthorized)
				return true
			})
			source := host.Source{OCI: s.ref("1.0.0"), AllowUnsigned: true}
			_, err := newCatalogue(t, catalogue.Config{}).Fetch(ctx, source)
			refused(t, err, "wants credentials")
			for password, ok := range map[string]bool{"secret": true, "wrong": false} {
				access := catalogue.Access{Credentials: dockerConfig(t, s.host, "me", password)}
				_, err := newCatalogue(t, catalogue.Config{Access: access}).Fetch(ctx, source)
				if ok && err != nil {
					t.Error(err)
				}
				if !ok {
					refused(t, err, "wants credentials")
				}
			}
			// Credentials of one registry are not shown to another.
			access := catalogue.Access{Credentials: dockerConfig(t, "elsewhere.example.com", "me", "secret")}
			_, err = newCatalogue(t, catalogue.Config{Access: access}).Fetch(ctx, source)
			refused(t, err, "wants credentials")
		})
	}
}

// TestAnswers is what an operator reads when a registry does not deliver.
func TestAnswers(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.publish(t, plugin(t, "1.0.0", one("1.0.0")))
	source := host.Source{OCI: s.ref("1.0.0"), AllowUnsigned: true}
	for _, tc := range []struct {
		name    string
		answer  func(w http.ResponseWriter, r *http.Request) bool
		want    string
		refused bool
	}{
		{"forbidden", func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(http.StatusForbidden); return true }, "(403)", true},
		{"not found", func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(http.StatusNotFound); return true }, "has no such artifact", true},
		{"too many requests", func(w http.ResponseWriter, _ *http.Request) bool {
			w.WriteHeader(http.StatusTooManyRequests)
			return true
		}, "too many requests (429)", false},
		{"broken", func(w http.ResponseWriter, _ *http.Request) bool {
			w.WriteHeader(http.StatusInternalServerError)
			return true
		}, "answered 500", false},
		{"silence", func(_ http.ResponseWriter, r *http.Request) bool { <-r.Context().Done(); return true }, "", false},
		{"silence in the middle of the binary", func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method != http.MethodGet || !strings.Contains(r.URL.Path, "/blobs/") {
				return false
			}
			w.Header().Set("Content-Length", "1000000")
			_, _ = w.Write([]byte("\x7fELF"))
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
			return true
		}, "", false},
		{"a part of the binary", func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method != http.MethodGet || !strings.Contains(r.URL.Path, "/blobs/") {
				return false
			}
			_, _ = w.Write([]byte("\x7fEL"))
			return true
		}, "", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s.answer(tc.answer)
			dir := t.TempDir()
			c := newCatalogue(t, catalogue.Config{Dir: dir, Access: catalogue.Access{Stall: 100 * time.Millisecond}})
			_, err := c.Fetch(t.Context(), source)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
			if catalogue.IsRefused(err) != tc.refused {
				t.Errorf("refused %v: %v", catalogue.IsRefused(err), err)
			}
			for _, sub := range []string{"tmp", "binaries"} {
				if files, _ := os.ReadDir(filepath.Join(dir, sub)); len(files) > 0 {
					t.Errorf("left in %s: %v", sub, files)
				}
			}
			s.answer(nil)
			if _, err := c.Fetch(t.Context(), source); err != nil {
				t.Errorf("when the registry is well again: %v", err)
			}
		})
	}
}

// TestRegistryAway: a server that starts while its registry is away has its plugins all the same.
func TestRegistryAway(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := newSite(t)
	signer, public := key(t, catalogue.ECDSA, "acme")
	dir := plugin(t, "1.0.0", one("1.0.0"))
	if _, err := catalogue.SignDirectory(dir, signer); err != nil {
		t.Fatal(err)
	}
	digest := s.publish(t, dir)
	config := catalogue.Config{Dir: t.TempDir(), Keys: []catalogue.Key{public}, Access: catalogue.Access{Stall: 100 * time.Millisecond}}
	sources := []host.Source{{OCI: s.ref("1.0.0")}, {OCI: s.ref(""), Version: "~1"}, {OCI: s.ref("") + "@" + digest}}
	for _, source := range sources[:2] {
		if _, err := newCatalogue(t, config).Fetch(ctx, source); err != nil {
			t.Fatal(err)
		}
	}
	s.status(http.StatusServiceUnavailable)
	_, other := key(t, catalogue.ECDSA, "other")
	for _, source := range sources {
		a, err := newCatalogue(t, config).Fetch(ctx, source)
		if err != nil || a.SignedBy != "acme" || a.Digest != digest {
			t.Errorf("%+v: %+v, %v", source, a, err)
		}
		offline := config
		offline.Offline = true
		if a, err = newCatalogue(t, offline).Fetch(ctx, source); err != nil || a.SignedBy != "acme" {
			t.Errorf("offline: %+v: %+v, %v", source, a, err)
		}
		// The cache is no way around the keys.
		revoked := config
		revoked.Keys = []catalogue.Key{other}
		_, err = newCatalogue(t, revoked).Fetch(ctx, source)
		refused(t, err, "none of the trusted keys")
	}
	if _, err := newCatalogue(t, config).Fetch(ctx, host.Source{OCI: s.ref("2.0.0")}); err == nil || catalogue.IsRefused(err) {
		t.Errorf("what was never seen: %v", err)
	}
}

// TestMovedTag: a tag that stands for something else is followed, and the digest tells.
func TestMovedTag(t *testing.T) {
	s := newSite(t)
	first := s.publish(t, plugin(t, "1.0.0", one("first")))
	c := newCatalogue(t, catalogue.Config{})
	source := host.Source{OCI: s.ref("1.0.0"), AllowUnsigned: true}
	a, err := c.Fetch(t.Context(), source)
	if err != nil || a.Digest != first {
		t.Fatalf("%+v, %v", a, err)
	}
	second := s.publish(t, plugin(t, "1.0.0", one("second")))
	b, err := c.Fetch(t.Context(), source)
	if err != nil || b.Digest != second || b.Path == a.Path {
		t.Errorf("%+v, %v", b, err)
	}
	source.OCI = s.ref("") + "@" + first
	if b, err = c.Fetch(t.Context(), source); err != nil || b.Path != a.Path {
		t.Errorf("%+v, %v", b, err)
	}
}

// TestForeignDocuments are at the registry under a tag of ours.
func TestForeignDocuments(t *testing.T) {
	s := newSite(t)
	layer := func(mediaType string, size int64) ocispec.Descriptor {
		return ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromString(mediaType), Size: size}
	}
	config := s.push(t, catalogue.ConfigType, []byte("{}"), "")
	yaml := layer(catalogue.ManifestType, 100)
	manifest := func(artifact string, layers ...ocispec.Descriptor) any {
		return ocispec.Manifest{
			Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
			ArtifactType: artifact, Config: config, Layers: layers,
		}
	}
	index := func(m ...ocispec.Descriptor) any {
		return ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: m}
	}
	arm64 := s.push(t, ocispec.MediaTypeImageManifest, manifest(catalogue.ArtifactType), "")
	arm64.Platform = &ocispec.Platform{OS: "linux", Architecture: "arm64"}
	nested := s.push(t, ocispec.MediaTypeImageIndex, index(arm64), "")
	broken := s.push(t, catalogue.ManifestType, []byte("name: widget"), "")
	for _, tc := range []struct {
		name, mediaType string
		doc             any
		want            string
	}{
		{"an image", ocispec.MediaTypeImageManifest, manifest("application/vnd.example.image", yaml), "it is no plugin"},
		{"no binary", ocispec.MediaTypeImageManifest, manifest(catalogue.ArtifactType, yaml), "0 layers of type " + catalogue.BinaryType},
		{"two binaries", ocispec.MediaTypeImageManifest,
			manifest(catalogue.ArtifactType, yaml, layer(catalogue.BinaryType, 1), layer(catalogue.BinaryType, 1)), "2 layers"},
		{"a huge binary", ocispec.MediaTypeImageManifest, manifest(catalogue.ArtifactType, yaml, layer(catalogue.BinaryType, 1<<40)), "at most 536870912 are taken"},
		{"a huge plugin.yaml", ocispec.MediaTypeImageManifest,
			manifest(catalogue.ArtifactType, layer(catalogue.ManifestType, 1<<30), layer(catalogue.BinaryType, 1)), "at most 1048576 are read"},
		{"a broken plugin.yaml", ocispec.MediaTypeImageManifest, manifest(catalogue.ArtifactType, broken, layer(catalogue.BinaryType, 1)), "apiVersion"},
		{"an index of indexes", ocispec.MediaTypeImageIndex, index(arm64, nested), "lists another index"},
		{"another platform", ocispec.MediaTypeImageIndex, index(arm64), "nothing for linux/amd64, only for linux/arm64"},
		{"an empty index", ocispec.MediaTypeImageIndex, index(), "not an OCI manifest"},
		{"too many platforms", ocispec.MediaTypeImageIndex, index(slices.Repeat([]ocispec.Descriptor{arm64}, 65)...), "at most 64 are read"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s.push(t, tc.mediaType, tc.doc, "latest")
			_, err := newCatalogue(t, catalogue.Config{}).Fetch(t.Context(), host.Source{OCI: s.ref("latest"), AllowUnsigned: true})
			refused(t, err, tc.want)
		})
	}
}

func TestPlainHTTPIsForLoopback(t *testing.T) {
	// 192.0.2.0/24 is nobody's: an attempt with TLS fails as one without would, but says https.
	c := newCatalogue(t, catalogue.Config{Timeout: 300 * time.Millisecond, Access: catalogue.Access{Stall: 50 * time.Millisecond}})
	_, err := c.Fetch(t.Context(), host.Source{OCI: "192.0.2.1:5000/acme/widget:1.0.0"})
	if err == nil || !strings.Contains(err.Error(), "https://192.0.2.1:5000") {
		t.Error(err)
	}
	c = newCatalogue(t, catalogue.Config{Timeout: 300 * time.Millisecond, Access: catalogue.Access{Stall: 50 * time.Millisecond, PlainHTTP: []string{"192.0.2.1:5000"}}})
	_, err = c.Fetch(t.Context(), host.Source{OCI: "192.0.2.1:5000/acme/widget:1.0.0"})
	if err == nil || !strings.Contains(err.Error(), "http://192.0.2.1:5000") {
		t.Error(err)
	}
}
