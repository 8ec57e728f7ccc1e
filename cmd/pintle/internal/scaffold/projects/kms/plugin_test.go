package main

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pintle-dev/pintle/sdk/kms"
	"github.com/pintle-dev/pintle/sdk/plugintest"
)

func addKey(t testing.TB, dir, name, seed string) {
	t.Helper()
	text := hex.EncodeToString([]byte(strings.Repeat(seed, 32)[:32])) + "\n"
	if err := os.WriteFile(filepath.Join(dir, name+".key"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestKeyManagerContract(t *testing.T) {
	dir := t.TempDir()
	addKey(t, dir, "2026-01", "a")
	settings, err := json.Marshal(map[string]string{"directory": dir})
	if err != nil {
		t.Fatal(err)
	}
	plugintest.RunKeyManager(t, plugintest.KeyManagerCase{
		Case: plugintest.Case{Settings: settings, BadSettings: map[string]string{
			`{}`:                       "settings.directory",
			`{"directory":"relative"}`: "settings.directory",
			`{"dir":"/x"}`:             "settings.dir",
		}},
		New:    func() kms.KeyManager { return &Plugin{} },
		Rotate: func(t testing.TB) { addKey(t, dir, "2026-02", "b") },
	})
}

func TestKeysThatAreNoGood(t *testing.T) {
	dir := t.TempDir()
	k := &Plugin{settings: Settings{Directory: dir}}
	if _, err := k.Status(t.Context()); err == nil || !strings.Contains(err.Error(), "there is no file") {
		t.Errorf("no key: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "short.key"), []byte("abcd"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := k.Status(t.Context()); err == nil || !strings.Contains(err.Error(), "64 hexadecimal digits") {
		t.Errorf("a short key: %v", err)
	}
	if _, err := k.Unwrap(t.Context(), kms.Wrapped{KeyID: "../short", Data: []byte("x")}); err == nil || !strings.Contains(err.Error(), "not the name of a key") {
		t.Errorf("a path: %v", err)
	}
}
