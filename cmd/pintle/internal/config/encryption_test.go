package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestEncryption(t *testing.T) {
	load := func(text string) (Config, string, error) {
		t.Helper()
		file := filepath.Join(t.TempDir(), "c.yaml")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		cfg, err := Load(file, nil)
		return cfg, filepath.Dir(file), err
	}
	cfg, dir, err := load("store: {encryption: {resources: [secrets, '*.example.dev'], keys: {file: keys.yaml}}}")
	if err != nil || cfg.Store.Encryption.Keys.File != filepath.Join(dir, "keys.yaml") || len(cfg.Store.Encryption.Resources) != 2 {
		t.Errorf("a file: %+v, %v", cfg.Store.Encryption, err)
	}
	if _, _, err := load("plugins: [{name: hsm, path: /hsm, sha256: " + strings.Repeat("a0", 32) + "}]\nstore: {encryption: {resources: [secrets], keys: {plugin: hsm, file: f, wrapWith: file}}}"); err != nil {
		t.Errorf("a plugin and a file: %v", err)
	}
	for text, want := range map[string]string{
		"resources: [secrets]":                                    "store.encryption.keys: a file or a plugin is required",
		"resources: [secrets, Bad], keys: {file: f}":              `store.encryption.resources[1]: "Bad" is no name of a type`,
		"resources: [secrets], keys: {plugin: hsm}":               `store.encryption.keys.plugin: "hsm" is not an entry of plugins`,
		"resources: [secrets], keys: {plugin: asleep}":            `store.encryption.keys.plugin: "asleep" is disabled in plugins`,
		"resources: [secrets], keys: {file: f, wrapWith: magic}":  "store.encryption.keys.wrapWith",
		"resources: [secrets], keys: {file: f, wrapWith: plugin}": "store.encryption.keys.plugin: is required",
		"resources: [secrets], keys: {fiel: f}":                   "fiel",
	} {
		_, _, err := load("plugins: [{name: asleep, disabled: true, path: /asleep, sha256: " + strings.Repeat("a0", 32) + "}]\nstore: {encryption: {" + text + "}}")
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v does not say %q", text, err, want)
		}
	}
}
