package catalogue_test

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"

	"github.com/pintle-dev/pintle/core/catalogue"
	"github.com/pintle-dev/pintle/core/host"
)

func TestFromPushToRun(t *testing.T) {
	for _, tc := range []struct {
		name    string
		kind    catalogue.KeyType
		options []registry.Option
	}{
		{"a registry with referrers, ECDSA", catalogue.ECDSA, []registry.Option{registry.WithReferrersSupport(true)}},
		{"a registry without referrers, Ed25519", catalogue.Ed25519, []registry.Option{registry.WithReferrersSupport(false)}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			ctx := t.Context()
			s := newSite(t, tc.options...)
			signer, public := key(t, tc.kind, "acme")
			// Signed before it is pushed, and after.
			before := plugin(t, "1.0.0", one("1.0.0"))
			signed, err := catalogue.SignDirectory(before, signer)
			if err != nil {
				t.Fatal(err)
			}
			if pushed := s.publish(t, before); pushed != signed.String() {
				t.Errorf("signed %s, pushed %s", signed, pushed)
			}
			after := plugin(t, "1.1.0", map[string][]byte{
				"plugin-linux-amd64": elfFor("amd64", "1.1.0"), "plugin-linux-arm64": elfFor("arm64", "1.1.0"),
			})
			digest := s.publish(t, after)
			if _, err := catalogue.SignReference(ctx, catalogue.Access{}, s.ref("1.1.0"), signer); err != nil {
				t.Fatal(err)
			}
			s.publish(t, plugin(t, "2.0.0", one("2.0.0")))

			mirror := t.TempDir()
			for _, tag := range []string{"1.0.0", "1.1.0"} {
				got, err := catalogue.Mirror(ctx, catalogue.Access{}, s.ref(tag), "", mirror)
				if err != nil {
					t.Fatal(err)
				}
				if got.Signatures == 0 {
					t.Errorf("%s was mirrored without its signature", tag)
				}
			}
			c := newCatalogue(t, catalogue.Config{Keys: []catalogue.Key{public}})
			offline := newCatalogue(t, catalogue.Config{Keys: []catalogue.Key{public}, Mirror: mirror, Offline: true})
			for where, c := range map[string]*catalogue.Catalogue{"registry": c, "mirror": offline} {
				a, err := c.Fetch(ctx, host.Source{OCI: s.ref(""), Version: ">=1.0, <2"})
				if err != nil {
					t.Fatalf("%s: %v", where, err)
				}
				if a.Version != "1.1.0" || a.SignedBy != "acme" || a.Digest != digest || a.Manifest.Name != "widget" {
					t.Errorf("%s: %+v", where, a)
				}
				b, err := os.ReadFile(a.Path)
				if err != nil || string(b) != string(elfFor("amd64", "1.1.0")) {
					t.Errorf("%s: the binary is %q, %v", where, b, err)
				}
				if st, err := os.Stat(a.Path); err != nil || st.Mode().Perm() != 0o555 {
					t.Errorf("%s: %v, %v", where, st.Mode(), err)
				}
				if a, err = c.Fetch(ctx, host.Source{OCI: s.ref("1.0.0")}); err != nil || a.SignedBy != "acme" {
					t.Errorf("%s: %+v, %v", where, a, err)
				}
			}
			_, err = c.Fetch(ctx, host.Source{OCI: s.ref("2.0.0")})
			refused(t, err, "it is not signed")
			if a, err := c.Fetch(ctx, host.Source{OCI: s.ref("2.0.0"), AllowUnsigned: true}); err != nil || a.SignedBy != "" {
				t.Errorf("%+v, %v", a, err)
			}
			_, err = offline.Fetch(ctx, host.Source{OCI: s.ref("2.0.0"), AllowUnsigned: true})
			refused(t, err, "no registry is asked")
		})
	}
}

func TestDirectory(t *testing.T) {
	ctx := t.Context()
	signer, public := key(t, catalogue.ECDSA, "acme")
	dir := t.TempDir()
	for _, v := range []string{"1.0.0", "1.2.0", "2.0.0-rc.1"} {
		writePlugin(t, filepath.Join(dir, v), v, one(v))
	}
	if _, err := catalogue.SignDirectory(filepath.Join(dir, "1.2.0"), signer); err != nil {
		t.Fatal(err)
	}
	c := newCatalogue(t, catalogue.Config{Keys: []catalogue.Key{public}})
	a, err := c.Fetch(ctx, host.Source{Directory: dir})
	if err != nil || a.Version != "1.2.0" || a.SignedBy != "acme" {
		t.Fatalf("%+v, %v", a, err)
	}
	_, err = c.Fetch(ctx, host.Source{Directory: dir, Version: "<1.2"})
	refused(t, err, "it is not signed")
	_, err = c.Fetch(ctx, host.Source{Directory: dir, Version: ">=3"})
	refused(t, err, "no version fits")
	if a, err := c.Fetch(ctx, host.Source{Directory: dir, Version: "2.0.0-rc.1", AllowUnsigned: true}); err != nil || a.Version != "2.0.0-rc.1" {
		t.Errorf("%+v, %v", a, err)
	}

	// Each file that the signature covers.
	for _, file := range []string{"plugin", "plugin.yaml"} {
		path := filepath.Join(dir, "1.2.0", file)
		old, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		write(t, path, append(old, "\n# changed\n"...))
		_, err = c.Fetch(ctx, host.Source{Directory: dir, AllowUnsigned: true})
		refused(t, err, "its signature is bad")
		write(t, path, old)
	}
	if _, err := c.Fetch(ctx, host.Source{Directory: dir}); err != nil {
		t.Errorf("what was put back is not accepted: %v", err)
	}
}

func TestRefusedSources(t *testing.T) {
	script := plugin(t, "1.0.0", map[string][]byte{"plugin": []byte("#!/bin/sh\n")})
	foreign := plugin(t, "1.0.0", map[string][]byte{"plugin": elfFor("arm64", "")})
	text := plugin(t, "1.0.0", map[string][]byte{"plugin": []byte("hello")})
	misnamed := t.TempDir()
	writePlugin(t, filepath.Join(misnamed, "1.0.0"), "1.1.0", one("1"))
	c := newCatalogue(t, catalogue.Config{})
	sum := strings.Repeat("a", 64)
	for _, tc := range []struct {
		name string
		s    host.Source
		want string
	}{
		{"nothing", host.Source{}, "exactly one of"},
		{"two", host.Source{Path: "/a", Directory: "/b"}, "exactly one of"},
		{"a relative path", host.Source{Path: "a", SHA256: sum}, "is not an absolute path"},
		{"no checksum", host.Source{Path: "/a"}, "is required"},
		{"a bad checksum", host.Source{Path: "/a", SHA256: "xyz"}, "not a SHA-256 sum"},
		{"no file", host.Source{Path: "/does/not/exist", SHA256: sum}, "there is no binary"},
		{"another file", host.Source{Path: filepath.Join(script, "plugin"), SHA256: sum}, "wrong checksum"},
		{"no directory", host.Source{Directory: "/does/not/exist"}, "there is no directory"},
		{"an empty directory", host.Source{Directory: t.TempDir()}, "holds no plugin.yaml"},
		{"no reference", host.Source{OCI: "Widget"}, "must be REGISTRY/REPOSITORY"},
		{"no constraint", host.Source{Directory: script, Version: "newest"}, "not a constraint"},
		{"another version", host.Source{Directory: script, Version: ">=2", AllowUnsigned: true}, "does not fit"},
		{"another machine", host.Source{Directory: foreign, AllowUnsigned: true}, "is for linux/arm64, this machine is linux/amd64"},
		{"no executable", host.Source{Directory: text, AllowUnsigned: true}, "neither a Linux executable"},
		{"a version by another name", host.Source{Directory: misnamed, AllowUnsigned: true}, "says version 1.1.0"},
		{"a wrong pin", host.Source{Directory: script, SHA256: sum, AllowUnsigned: true}, "wrong checksum"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := c.Fetch(t.Context(), tc.s)
			refused(t, err, tc.want)
		})
	}
	if a, err := c.Fetch(t.Context(), host.Source{Directory: script, AllowUnsigned: true}); err != nil || a.Version != "1.0.0" {
		t.Errorf("a script: %+v, %v", a, err)
	}
}

// TestPathKeepsItsContent is what a rollback relies on: the operator has copied a new binary over
// the old one.
func TestPathKeepsItsContent(t *testing.T) {
	path := filepath.Join(t.TempDir(), "plugin")
	write(t, path, []byte("old"))
	sum := fmt.Sprintf("%x", sha256.Sum256([]byte("old")))
	c := newCatalogue(t, catalogue.Config{})
	a, err := c.Fetch(t.Context(), host.Source{Path: path, SHA256: sum})
	if err != nil {
		t.Fatal(err)
	}
	write(t, path, []byte("new"))
	if b, err := os.ReadFile(a.Path); err != nil || string(b) != "old" {
		t.Errorf("%q, %v", b, err)
	}
}

func TestManyAtOnce(t *testing.T) {
	s := newSite(t)
	s.publish(t, plugin(t, "1.0.0", one("1.0.0")))
	dir := t.TempDir()
	var wg sync.WaitGroup
	// Two catalogues in one directory stand for a server and an agent of one machine.
	for range 2 {
		c := newCatalogue(t, catalogue.Config{Dir: dir})
		for range 8 {
			wg.Go(func() {
				a, err := c.Fetch(t.Context(), host.Source{OCI: s.ref("1.0.0"), AllowUnsigned: true})
				if err != nil {
					t.Error(err)
					return
				}
				if b, err := os.ReadFile(a.Path); err != nil || string(b) != string(elfFor("amd64", "widget 1.0.0")) {
					t.Errorf("%q, %v", b, err)
				}
			})
		}
	}
	wg.Wait()
	if left, err := os.ReadDir(filepath.Join(dir, "tmp")); err != nil || len(left) > 0 {
		t.Errorf("left over: %v, %v", left, err)
	}
}
