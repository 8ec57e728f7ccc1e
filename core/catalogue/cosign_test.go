package catalogue_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pintle-dev/pintle/core/catalogue"
	"github.com/pintle-dev/pintle/core/host"
)

// cosignPassword encrypts the private keys of these tests.
const cosignPassword = "not a secret"

// cosign runs the program cosign, which reaches nothing but loopback, and skips the test where
// there is none: go install github.com/sigstore/cosign/v3/cmd/cosign@latest.
func cosign(t *testing.T, args ...string) (string, error) {
	t.Helper()
	program, err := exec.LookPath("cosign")
	if err != nil {
		t.Skip("there is no cosign in the PATH to compare with")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	home := t.TempDir()
	cmd.Dir = home
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + home, "COSIGN_PASSWORD=" + cosignPassword,
		"HTTP_PROXY=http://127.0.0.1:1", "HTTPS_PROXY=http://127.0.0.1:1", "NO_PROXY=127.0.0.1,localhost",
	}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func mustCosign(t *testing.T, args ...string) string {
	t.Helper()
	out, err := cosign(t, args...)
	if err != nil {
		t.Fatalf("cosign %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// keyFiles writes a pair of keys.
func keyFiles(t *testing.T, private, public []byte) (privateFile, publicFile string) {
	t.Helper()
	dir := t.TempDir()
	privateFile, publicFile = filepath.Join(dir, "my.key"), filepath.Join(dir, "my.pub")
	write(t, privateFile, private)
	write(t, publicFile, public)
	return privateFile, publicFile
}

// TestCosignVerifiesOurs has cosign verify, offline and by key, what is signed here: a plugin of
// one platform, and the index of one of several.
func TestCosignVerifiesOurs(t *testing.T) {
	for _, kind := range []catalogue.KeyType{catalogue.ECDSA, catalogue.Ed25519} {
		for name, files := range map[string]map[string][]byte{
			"one platform": one("1.0.0"),
			"two":          {"plugin-linux-amd64": elfFor("amd64", "widget"), "plugin-linux-arm64": elfFor("arm64", "widget")},
		} {
			t.Run(string(kind)+" "+name, func(t *testing.T) {
				s := newSite(t)
				digest := s.publish(t, plugin(t, "1.0.0", files))
				signer, public := key(t, kind, "acme")
				_, other := key(t, kind, "other")
				_, file := keyFiles(t, nil, public.PEM)
				_, otherFile := keyFiles(t, nil, other.PEM)
				verify := func(file string) []string {
					return []string{"verify", "--key", file, "--insecure-ignore-tlog=true", "--allow-http-registry", s.ref("1.0.0")}
				}
				if out, err := cosign(t, verify(file)...); err == nil {
					t.Errorf("cosign takes what is not signed:\n%s", out)
				}
				if _, err := catalogue.SignReference(t.Context(), catalogue.Access{}, s.ref("1.0.0"), signer); err != nil {
					t.Fatal(err)
				}
				out := mustCosign(t, verify(file)...)
				if !strings.Contains(out, digest) {
					t.Errorf("cosign verified something else than %s:\n%s", digest, out)
				}
				mustCosign(t, "verify", "--key", file, "--private-infrastructure=true", "--allow-http-registry", s.ref("1.0.0"))
				if out, err := cosign(t, verify(otherFile)...); err == nil {
					t.Errorf("cosign takes another's key:\n%s", out)
				}
			})
		}
	}
}

// TestOursVerifiesCosigns takes what cosign signs, in each of its formats, with its keys and with ours.
func TestOursVerifiesCosigns(t *testing.T) {
	formats := map[string][]string{
		"simple signing": {"--new-bundle-format=false"},
		"bundle":         {"--new-bundle-format=true"},
	}
	for name, format := range formats {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			digest := s.publish(t, plugin(t, "1.0.0", one("1.0.0")))
			private, public, err := catalogue.GenerateKey(catalogue.ECDSA, []byte(cosignPassword))
			if err != nil {
				t.Fatal(err)
			}
			privateFile, _ := keyFiles(t, private, public)
			mustCosign(t, append([]string{"sign", "--yes", "--key", privateFile, "--tlog-upload=false", "--use-signing-config=false", "--allow-http-registry", s.ref("") + "@" + digest}, format...)...)
			source := host.Source{OCI: s.ref("1.0.0")}
			got, err := newCatalogue(t, catalogue.Config{Keys: []catalogue.Key{{Name: "acme", PEM: public}}}).Fetch(t.Context(), source)
			if err != nil {
				t.Fatal(err)
			}
			if got.SignedBy != "acme" {
				t.Errorf("signed by %q", got.SignedBy)
			}
			_, other := key(t, catalogue.ECDSA, "other")
			_, err = newCatalogue(t, catalogue.Config{Keys: []catalogue.Key{other}}).Fetch(t.Context(), source)
			refused(t, err, "fits none of the trusted keys")
		})
	}
}

// TestCosignsKeys signs with a key that cosign has made.
func TestCosignsKeys(t *testing.T) {
	prefix := filepath.Join(t.TempDir(), "theirs")
	mustCosign(t, "generate-key-pair", "--output-key-prefix", prefix)
	private, err := os.ReadFile(prefix + ".key")
	if err != nil {
		t.Fatal(err)
	}
	public, err := os.ReadFile(prefix + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := catalogue.NewSigner(private, func() ([]byte, error) { return []byte(cosignPassword), nil })
	if err != nil {
		t.Fatal(err)
	}
	s := newSite(t)
	s.publish(t, plugin(t, "1.0.0", one("1.0.0")))
	if _, err := catalogue.SignReference(t.Context(), catalogue.Access{}, s.ref("1.0.0"), signer); err != nil {
		t.Fatal(err)
	}
	if _, err := newCatalogue(t, catalogue.Config{Keys: []catalogue.Key{{Name: "theirs", PEM: public}}}).Fetch(t.Context(), host.Source{OCI: s.ref("1.0.0")}); err != nil {
		t.Error(err)
	}
	mustCosign(t, "verify", "--key", prefix+".pub", "--insecure-ignore-tlog=true", "--allow-http-registry", s.ref("1.0.0"))
}
