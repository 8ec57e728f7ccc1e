package catalogue_test

import (
	"path/filepath"
	"slices"
	"testing"

	"github.com/pintle-dev/pintle/core/catalogue"
	"github.com/pintle-dev/pintle/core/host"
)

// TestFormatIsFixed: signatures are of these bytes. A change makes all directories that were
// signed before look tampered with, so it needs new media types.
func TestFormatIsFixed(t *testing.T) {
	for _, tc := range []struct {
		name  string
		files map[string][]byte
		want  string
	}{
		{"one platform", one("1.0.0"), "sha256:bfad8945e6b96eedb367d9392fb91323d9078ca9937428d00650d15a5f20bbe9"},
		{"two platforms", map[string][]byte{
			"plugin-linux-amd64": elfFor("amd64", ""), "plugin-linux-arm64": elfFor("arm64", ""),
		}, "sha256:5804c377864dfedfcb03f491565e5930fad723930828b9f1e90cdfddff6388bc"},
		{"a script", map[string][]byte{"plugin": []byte("#!/bin/sh\n")}, "sha256:38cf9e40876680831ba88181d456c9eb87ee69bd412a79f55c71472588168e6f"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p, err := catalogue.Pack(plugin(t, "1.0.0", tc.files))
			if err != nil {
				t.Fatal(err)
			}
			if got := p.Descriptor().Digest.String(); got != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
		})
	}
}

func TestPackRefuses(t *testing.T) {
	for _, tc := range []struct {
		name  string
		files map[string][]byte
		want  string
	}{
		{"no binary", nil, "has no binary plugin"},
		{"a binary by a wrong name", map[string][]byte{"plugin-linux-arm64": elfFor("amd64", "")}, "is for linux/amd64, which its name does not say"},
		{"two of one platform", map[string][]byte{"plugin-linux-amd64": elfFor("amd64", "1"), "plugin": elfFor("amd64", "2")}, "are both for linux/amd64"},
		{"no executable", map[string][]byte{"plugin": []byte("text")}, "neither a Linux executable"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := catalogue.Pack(plugin(t, "1.0.0", tc.files))
			refused(t, err, tc.want)
		})
	}
	dir := plugin(t, "1.0.0", map[string][]byte{"plugin-linux-amd64": elfFor("amd64", "1"), "plugin": elfFor("amd64", "1")})
	if p, err := catalogue.Pack(dir); err != nil || !slices.Equal(p.Platforms(), []string{"linux/amd64"}) {
		t.Errorf("the same binary by two names: %v", err)
	}
}

// TestPublishRefusesOldSignatures: the author has built again and not signed again.
func TestPublishRefusesOldSignatures(t *testing.T) {
	s := newSite(t)
	signer, _ := key(t, catalogue.ECDSA, "acme")
	dir := plugin(t, "1.0.0", one("1"))
	if _, err := catalogue.SignDirectory(dir, signer); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "plugin"), elfFor("amd64", "2"))
	_, _, err := catalogue.Publish(t.Context(), catalogue.Access{}, dir, s.ref(""))
	refused(t, err, "sign it again")
	if _, err := catalogue.SignDirectory(dir, signer); err != nil {
		t.Fatal(err)
	}
	_, _, err = catalogue.Publish(t.Context(), catalogue.Access{}, dir, s.ref("2.0.0"))
	refused(t, err, "its tag is 2.0.0")
	s.publish(t, dir)
}

// TestUnpackedDirectoryVerifies, though it has the files of one platform alone.
func TestUnpackedDirectoryVerifies(t *testing.T) {
	s := newSite(t)
	first, public := key(t, catalogue.ECDSA, "acme")
	second, other := key(t, catalogue.Ed25519, "review")
	dir := plugin(t, "1.0.0", map[string][]byte{
		"plugin-linux-amd64": elfFor("amd64", "x"), "plugin-linux-arm64": elfFor("arm64", "x"),
	})
	for _, k := range []*catalogue.Signer{first, second, first} {
		if _, err := catalogue.SignDirectory(dir, k); err != nil {
			t.Fatal(err)
		}
	}
	s.publish(t, dir)
	for _, p := range []string{"linux/amd64", "linux/arm64"} {
		out := filepath.Join(t.TempDir(), "out")
		got, err := catalogue.Unpack(t.Context(), catalogue.Access{}, s.ref(""), "~1", p, out)
		if err != nil || got.Signatures != 2 || got.Tag != "1.0.0" {
			t.Fatalf("%+v, %v", got, err)
		}
		for _, k := range []catalogue.Key{public, other} {
			c := newCatalogue(t, catalogue.Config{Keys: []catalogue.Key{k}, Platform: p})
			if a, err := c.Fetch(t.Context(), host.Source{Directory: out}); err != nil || a.SignedBy != k.Name {
				t.Errorf("%s: %+v, %v", p, a, err)
			}
		}
	}
	_, err := catalogue.Unpack(t.Context(), catalogue.Access{}, s.ref(""), "", "linux/s390x", t.TempDir())
	refused(t, err, "nothing for linux/s390x")
}
