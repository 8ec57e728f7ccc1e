package encryption_test

import (
	"context"
	"encoding/base64"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pintle-dev/pintle/core/encryption"
	"github.com/pintle-dev/pintle/sdk/kms"
)

func TestKeyFilesThatAreNoGood(t *testing.T) {
	good := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("s3cr", 8)))
	short := base64.StdEncoding.EncodeToString([]byte("s3cr"))
	for name, c := range map[string]struct {
		content, want string
		mode          os.FileMode
	}{
		"readable by others":  {"keys:\n- {name: a, secret: " + good + "}\n", "chmod 600", 0o640},
		"no keys":             {"keys: []\n", "keys: there is none", 0o600},
		"nothing":             {"", "keys: there is none", 0o600},
		"unknown field":       {"keys:\n- {name: a, secret: " + good + ", more: 1}\n", "is not a list of keys", 0o600},
		"no YAML":             {"keys: " + good + "\n", "is not a list of keys", 0o600},
		"no name":             {"keys:\n- {secret: " + good + "}\n", "keys[0].name", 0o600},
		"a name twice":        {"keys:\n- {name: a, secret: " + good + "}\n- {name: a, secret: " + good + "}\n", `keys[1].name: "a" is there twice`, 0o600},
		"a secret not base64": {"keys:\n- {name: a, secret: s3cr!!}\n", `keys[0].secret: key "a" is not base64`, 0o600},
		"a short secret":      {"keys:\n- {name: a, secret: " + short + "}\n", "a key has 32 bytes, this one 4", 0o600},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "keys.yaml")
			if err := os.WriteFile(path, []byte(c.content), c.mode); err != nil {
				t.Fatal(err)
			}
			_, err := encryption.ReadKeyFile(path)
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), path) {
				t.Errorf("error %v does not say %q of %s", err, c.want, path)
			}
			if err != nil && (strings.Contains(err.Error(), good) || strings.Contains(err.Error(), "s3cr")) {
				t.Errorf("the error shows a secret: %v", err)
			}
		})
	}
	if _, err := encryption.ReadKeyFile("/no/such/file"); err == nil || !strings.Contains(err.Error(), "/no/such/file") {
		t.Errorf("missing: %v", err)
	}
}

func TestKeysAreAddedAtTheHead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.yaml")
	ctx := context.Background()
	var old *encryption.KeyFile
	for _, name := range []string{"one", "two"} {
		if err := encryption.AddKey(path, name, false); err != nil {
			t.Fatal(err)
		}
		f, err := encryption.ReadKeyFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if st, err := f.Status(ctx); err != nil || st.KeyID != name {
			t.Errorf("%s wraps, %v", st.KeyID, err)
		}
		if old == nil {
			old = f
			continue
		}
		w, err := old.Wrap(ctx, []byte("data key"))
		if err != nil {
			t.Fatal(err)
		}
		if key, err := f.Unwrap(ctx, w); err != nil || string(key) != "data key" {
			t.Errorf("the old key: %q, %v", key, err)
		}
		w.Data[len(w.Data)-1] ^= 1
		if _, err := f.Unwrap(ctx, w); err == nil || !strings.Contains(err.Error(), `key "one" in `+path) {
			t.Errorf("changed: %v", err)
		}
		w.KeyID = "three"
		if _, err := f.Unwrap(ctx, w); err == nil || !strings.Contains(err.Error(), `key "three" is not in `+path+" (there are: two, one)") {
			t.Errorf("missing: %v", err)
		}
	}
	if err := errors.Join(encryption.AddKey(path, "three", true), encryption.UseKey(path, "one")); err != nil {
		t.Fatal(err)
	}
	f, err := encryption.ReadKeyFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if st, err := f.Status(ctx); err != nil || st.KeyID != "one" {
		t.Errorf("%s wraps, %v", st.KeyID, err)
	}
	if _, err := f.Unwrap(ctx, kms.Wrapped{KeyID: "none"}); err == nil || !strings.Contains(err.Error(), "(there are: one, two, three)") {
		t.Errorf("order: %v", err)
	}
	if err := encryption.UseKey(path, "four"); err == nil || !strings.Contains(err.Error(), `there is no key "four"`) {
		t.Errorf("using what is not there: %v", err)
	}
	if err := encryption.AddKey(path, "one", false); err == nil || !strings.Contains(err.Error(), `a key "one" already`) {
		t.Errorf("twice: %v", err)
	}
	if err := encryption.AddKey(path, "a b", false); err == nil {
		t.Error("a bad name was taken")
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode: %v, %v", info.Mode(), err)
	}
}
