package catalogue_test

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/registry/remote"

	"github.com/google/go-containerregistry/pkg/registry"

	"github.com/pintle-dev/pintle/core/catalogue"
	"github.com/pintle-dev/pintle/core/host"
)

// flip changes one bit of a file that may be read-only.
func flip(t *testing.T, path string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 1
	write(t, path, b)
}

func (s *site) client(t *testing.T) *remote.Repository {
	t.Helper()
	repo, err := remote.NewRepository(s.ref(""))
	if err != nil {
		t.Fatal(err)
	}
	repo.PlainHTTP = true
	return repo
}

// push pushes content, and tags it where a tag is given.
func (s *site) push(t *testing.T, mediaType string, v any, tag string) ocispec.Descriptor {
	t.Helper()
	b, ok := v.([]byte)
	if !ok {
		var err error
		if b, err = json.Marshal(v); err != nil {
			t.Fatal(err)
		}
	}
	desc := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(b), Size: int64(len(b))}
	var err error
	if tag != "" {
		err = s.client(t).PushReference(t.Context(), desc, bytes.NewReader(b), tag)
	} else {
		err = s.client(t).Push(t.Context(), desc, bytes.NewReader(b))
	}
	if err != nil {
		t.Fatal(err)
	}
	return desc
}

// pull reads the document of a tag.
func (s *site) pull(t *testing.T, tag string, v any) ocispec.Descriptor {
	t.Helper()
	desc, r, err := s.client(t).FetchReference(t.Context(), tag)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := json.NewDecoder(r).Decode(v); err != nil {
		t.Fatal(err)
	}
	return desc
}

// TestTampering changes one thing at each place where a plugin lies between its author and the
// machine that runs it.
func TestTampering(t *testing.T) {
	signer, public := key(t, catalogue.ECDSA, "acme")
	_, other := key(t, catalogue.ECDSA, "other")
	const version = "1.0.0"
	sigTag := func(d digest.Digest) string { return strings.Replace(d.String(), ":", "-", 1) + ".sig" }

	type world struct {
		site   *site
		mirror string
		cache  string
		desc   ocispec.Descriptor
		config catalogue.Config
		source host.Source
	}
	mirrored := func(t *testing.T, w *world) {
		if _, err := catalogue.Mirror(t.Context(), catalogue.Access{}, w.site.ref(version), "", w.mirror); err != nil {
			t.Fatal(err)
		}
		w.config.Mirror, w.config.Offline = w.mirror, true
	}
	mirrorBlob := func(w *world, d digest.Digest) string {
		return filepath.Join(w.mirror, strings.ReplaceAll(w.site.host, ":", "_"), "acme/widget/blobs/sha256", d.Encoded())
	}
	fetched := func(t *testing.T, w *world) host.Artifact {
		a, err := newCatalogue(t, w.config).Fetch(t.Context(), w.source)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	// resign puts a manifest of signatures in the place of those that are there.
	resign := func(t *testing.T, w *world, m ocispec.Manifest) {
		m.Subject = nil
		w.site.push(t, ocispec.MediaTypeImageManifest, m, sigTag(w.desc.Digest))
		w.site.push(t, ocispec.MediaTypeImageIndex, ocispec.Index{
			Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{},
		}, strings.TrimSuffix(sigTag(w.desc.Digest), ".sig"))
	}
	for _, tc := range []struct {
		name   string
		tamper func(t *testing.T, w *world)
		want   string
	}{
		{"the binary in the mirror", func(t *testing.T, w *world) {
			mirrored(t, w)
			var m ocispec.Manifest
			w.site.pull(t, version, &m)
			flip(t, mirrorBlob(w, m.Layers[1].Digest))
		}, "it was changed on its way, or where it lies"},
		{"plugin.yaml in the mirror", func(t *testing.T, w *world) {
			mirrored(t, w)
			var m ocispec.Manifest
			w.site.pull(t, version, &m)
			flip(t, mirrorBlob(w, m.Layers[0].Digest))
		}, "it was changed on its way, or where it lies"},
		{"the manifest in the mirror", func(t *testing.T, w *world) {
			mirrored(t, w)
			flip(t, mirrorBlob(w, w.desc.Digest))
		}, ""},
		{"the signature's payload in the mirror", func(t *testing.T, w *world) {
			mirrored(t, w)
			var m ocispec.Manifest
			w.site.pull(t, sigTag(w.desc.Digest), &m)
			flip(t, mirrorBlob(w, m.Layers[0].Digest))
		}, "its signature is bad"},
		{"the binary on its way", func(t *testing.T, w *world) {
			var m ocispec.Manifest
			w.site.pull(t, version, &m)
			b := elfFor("amd64", "widget "+version)
			b[70] ^= 1
			w.site.answer(func(rw http.ResponseWriter, r *http.Request) bool {
				if !strings.HasSuffix(r.URL.Path, "/blobs/"+m.Layers[1].Digest.String()) {
					return false
				}
				_, _ = rw.Write(b)
				return true
			})
		}, "it was changed on its way, or where it lies"},
		{"the signature at the registry", func(t *testing.T, w *world) {
			var m ocispec.Manifest
			w.site.pull(t, sigTag(w.desc.Digest), &m)
			for k, v := range m.Layers[0].Annotations {
				m.Layers[0].Annotations[k] = strings.Replace(v, v[20:22], string([]byte{v[21] ^ 2, v[20] ^ 2}), 1)
			}
			resign(t, w, m)
		}, "bad"},
		{"a signature of another version", func(t *testing.T, w *world) {
			dir := plugin(t, "0.9.0", one("0.9.0"))
			if _, err := catalogue.SignDirectory(dir, signer); err != nil {
				t.Fatal(err)
			}
			old := digest.Digest(w.site.publish(t, dir))
			var m ocispec.Manifest
			w.site.pull(t, sigTag(old), &m)
			resign(t, w, m)
		}, "and not of this plugin"},
		{"an old version under a new tag", func(t *testing.T, w *world) {
			var m json.RawMessage
			w.site.pull(t, version, &m)
			w.site.push(t, ocispec.MediaTypeImageManifest, []byte(m), "1.1.0")
			w.source.OCI = w.site.ref("1.1.0")
		}, "its tag is 1.1.0, but its plugin.yaml says version 1.0.0"},
		{"a key that is no longer trusted", func(t *testing.T, w *world) {
			fetched(t, w)
			w.config.Keys = []catalogue.Key{other}
		}, "none of the trusted keys (other)"},
		{"a pinned checksum", func(t *testing.T, w *world) {
			w.source.SHA256 = strings.Repeat("0", 64)
		}, "wrong checksum"},
	} {
		for _, allowed := range []bool{false, true} {
			name := tc.name
			if allowed {
				name += ", unsigned allowed"
			}
			t.Run(name, func(t *testing.T) {
				w := &world{site: newSite(t, registry.WithReferrersSupport(false)), mirror: t.TempDir(), cache: t.TempDir()}
				dir := plugin(t, version, one(version))
				if _, err := catalogue.SignDirectory(dir, signer); err != nil {
					t.Fatal(err)
				}
				w.site.publish(t, dir)
				var m ocispec.Manifest
				w.desc = w.site.pull(t, version, &m)
				w.config = catalogue.Config{Dir: w.cache, Keys: []catalogue.Key{public}}
				w.source = host.Source{OCI: w.site.ref(version), AllowUnsigned: allowed}
				tc.tamper(t, w)
				a, err := newCatalogue(t, w.config).Fetch(t.Context(), w.source)
				refused(t, err, tc.want)
				if a.Path != "" {
					t.Errorf("a path was given: %s", a.Path)
				}
				if tc.name != "a key that is no longer trusted" {
					if files, _ := os.ReadDir(filepath.Join(w.cache, "binaries")); len(files) > 0 {
						t.Errorf("a binary was kept: %v", files)
					}
				}
			})
		}
	}
}

// TestTamperedCacheHeals: what was changed in the cache is not run but fetched again, and where
// that can't be done there is an error.
func TestTamperedCacheHeals(t *testing.T) {
	s := newSite(t)
	signer, public := key(t, catalogue.ECDSA, "acme")
	dir := plugin(t, "1.0.0", one("1.0.0"))
	if _, err := catalogue.SignDirectory(dir, signer); err != nil {
		t.Fatal(err)
	}
	s.publish(t, dir)
	config := catalogue.Config{Dir: t.TempDir(), Keys: []catalogue.Key{public}, Access: catalogue.Access{Stall: 100 * time.Millisecond}}
	c := newCatalogue(t, config)
	source := host.Source{OCI: s.ref("1.0.0")}
	a, err := c.Fetch(t.Context(), source)
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(a.Path)
	if err != nil {
		t.Fatal(err)
	}
	var files []string
	if err := filepath.WalkDir(config.Dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && filepath.Base(path) != "lock" {
			files = append(files, path)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if len(files) < 6 {
		t.Fatalf("the cache has only %v", files)
	}
	for _, path := range files {
		flip(t, path)
		again, err := c.Fetch(t.Context(), source)
		if err != nil {
			t.Fatalf("%s was changed: %v", path, err)
		}
		if b, err := os.ReadFile(again.Path); err != nil || !bytes.Equal(b, want) {
			t.Errorf("%s was changed, and %q was given (%v)", path, b, err)
		}
	}
	// A symbolic link is no file of ours, whatever it points at.
	if err := os.Remove(a.Path); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(dir, "plugin"), a.Path); err != nil {
		t.Fatal(err)
	}
	again, err := c.Fetch(t.Context(), source)
	if err != nil {
		t.Fatal(err)
	}
	if st, err := os.Lstat(again.Path); err != nil || !st.Mode().IsRegular() {
		t.Errorf("%v, %v", st, err)
	}
	flip(t, a.Path)
	s.status(http.StatusBadGateway)
	if a, err := c.Fetch(t.Context(), source); err == nil {
		t.Errorf("a changed binary was given: %+v", a)
	}
}

// TestBundle reads a signature as cosign 3 writes it, beside statements that are no signatures.
func TestBundle(t *testing.T) {
	for _, referrers := range []bool{true, false} {
		s := newSite(t, registry.WithReferrersSupport(referrers))
		private, public, err := catalogue.GenerateKey(catalogue.ECDSA, nil)
		if err != nil {
			t.Fatal(err)
		}
		subject := digest.Digest(s.publish(t, plugin(t, "1.0.0", one("1.0.0"))))
		attach := func(predicate string, of digest.Digest, signed digest.Digest) {
			t.Helper()
			bundle := bundleOf(t, private, predicate, signed)
			layer := s.push(t, "application/vnd.dev.sigstore.bundle.v0.3+json", bundle, "")
			config := s.push(t, ocispec.MediaTypeEmptyJSON, []byte("{}"), "")
			var m ocispec.Manifest
			target := s.pull(t, of.String(), &m)
			s.push(t, ocispec.MediaTypeImageManifest, ocispec.Manifest{
				Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
				ArtifactType: "application/vnd.dev.sigstore.bundle.v0.3+json", Config: config, Layers: []ocispec.Descriptor{layer},
				Subject:     &ocispec.Descriptor{MediaType: target.MediaType, Digest: target.Digest, Size: target.Size},
				Annotations: map[string]string{"dev.sigstore.bundle.predicateType": predicate},
			}, "sha256-"+layer.Digest.Encoded())
		}
		mirror := t.TempDir()
		catalogues := func() []*catalogue.Catalogue {
			if _, err := catalogue.Mirror(t.Context(), catalogue.Access{}, s.ref("1.0.0"), "", mirror); err != nil {
				t.Fatal(err)
			}
			keys := []catalogue.Key{{Name: "acme", PEM: public}}
			return []*catalogue.Catalogue{
				newCatalogue(t, catalogue.Config{Keys: keys}),
				newCatalogue(t, catalogue.Config{Keys: keys, Mirror: mirror, Offline: true}),
			}
		}
		source := host.Source{OCI: s.ref("1.0.0")}
		attach("https://slsa.dev/provenance/v1", subject, subject)
		for _, c := range catalogues() {
			_, err = c.Fetch(t.Context(), source)
			refused(t, err, "it is not signed")
		}
		attach("https://sigstore.dev/cosign/sign/v1", subject, digest.FromString("another"))
		for _, c := range catalogues() {
			_, err = c.Fetch(t.Context(), source)
			refused(t, err, "and not of this plugin")
		}
		attach("https://sigstore.dev/cosign/sign/v1", subject, subject)
		for _, c := range catalogues() {
			if a, err := c.Fetch(t.Context(), source); err != nil || a.SignedBy != "acme" {
				t.Errorf("referrers %v: %+v, %v", referrers, a, err)
			}
		}
	}
}
