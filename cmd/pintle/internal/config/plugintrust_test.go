package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pintle-dev/pintle/cmd/pintle/internal/config"
	"github.com/pintle-dev/pintle/core/catalogue"
)

func TestPluginTrust(t *testing.T) {
	_, public, err := catalogue.GenerateKey(catalogue.ECDSA, nil)
	if err != nil {
		t.Fatal(err)
	}
	private, _, err := catalogue.GenerateKey(catalogue.Ed25519, nil)
	if err != nil {
		t.Fatal(err)
	}
	inline := func(pem []byte) string {
		return "inline: |\n      " + strings.ReplaceAll(strings.TrimSpace(string(pem)), "\n", "\n      ")
	}
	for _, tc := range []struct{ name, text, want string }{
		{"all of it", "keys:\n  - name: acme\n    file: acme.pub\n  - name: Inc\n    " + inline(public) +
			"\n  credentials: docker.json\n  mirror: mirror\n  offline: true\n  insecureRegistries: [registry.lan:5000]\n  cacheSize: 1Gi\n  cacheAge: 24h", ""},
		{"a key without name", "keys: [{file: a}]", "pluginTrust.keys[0].name: is required"},
		{"a name twice", "keys: [{name: a, file: a}, {name: a, file: b}]", `pluginTrust.keys[1].name: "a" is taken by pluginTrust.keys[0]`},
		{"no key", "keys: [{name: a}]", "pluginTrust.keys[0]: exactly one of file and inline"},
		{"two keys", "keys: [{name: a, file: a, inline: b}]", "pluginTrust.keys[0]: exactly one of file and inline"},
		{"no PEM", "keys: [{name: a, inline: abc}]", "pluginTrust.keys[0].inline: is not a public key in PEM"},
		{"a private key", "keys:\n  - name: a\n    " + inline(private), "pluginTrust.keys[0].inline: is a private key"},
		{"a registry with a scheme", "insecureRegistries: ['http://a']", "pluginTrust.insecureRegistries[0]"},
		{"an unknown key", "key: []", "pluginTrust.key"},
		{"a negative age", "cacheAge: -1h", "pluginTrust.cacheAge: is negative"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			file := filepath.Join(dir, "pintle.yaml")
			if err := os.WriteFile(file, []byte("pluginTrust:\n  "+tc.text+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			cfg, err := config.Load(file, nil)
			if tc.want != "" {
				if err == nil || !strings.Contains(err.Error(), tc.want) {
					t.Errorf("got %v, want %q", err, tc.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			got := cfg.PluginTrust
			if got.Keys[0].File != filepath.Join(dir, "acme.pub") || got.Credentials != filepath.Join(dir, "docker.json") ||
				got.Mirror != filepath.Join(dir, "mirror") || !got.Offline || got.CacheSize != 1<<30 || got.InsecureRegistries[0] != "registry.lan:5000" {
				t.Errorf("%+v", got)
			}
			if strings.TrimSpace(got.Keys[1].Inline) != strings.TrimSpace(string(public)) || got.Keys[1].Name != "Inc" {
				t.Errorf("%q", got.Keys[1])
			}
		})
	}
}
