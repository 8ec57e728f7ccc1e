package plugintest

import (
	"bytes"
	"crypto/rand"
	"slices"
	"sync"
	"testing"

	"github.com/pintle-dev/pintle/sdk/kms"
)

// KeyManagerCase is a key manager to be held to the contract. Every value that New returns must
// have the same keys, as a plugin has that was restarted.
type KeyManagerCase struct {
	Case
	New func() kms.KeyManager
	// Rotate makes the key manager wrap with another key from now on; nil skips what needs it.
	Rotate func(testing.TB)
}

// RunKeyManager holds a key manager to the contract, over gRPC.
func RunKeyManager(t *testing.T, c KeyManagerCase) {
	t.Helper()
	start := func(t testing.TB) *Harness { return Start(t, c.New()) }
	c.runBase(t, start)
	manager := func(t testing.TB) kms.KeyManager {
		h := start(t)
		configure(t, h.Client, c.Settings)
		k, ok := h.Client.KeyManager()
		if !ok {
			t.Fatal("the host is not told that the plugin is a key manager")
		}
		return k
	}
	t.Run("what was wrapped is unwrapped, also after a restart", func(t *testing.T) {
		first, second := manager(t), manager(t)
		for _, n := range []int{1, 16, 32, 64, kms.MaxKeyBytes} {
			key := randomKey(t, n)
			w := wrap(t, first, key)
			if bytes.Contains(w.Data, key) && n >= 16 {
				t.Fatalf("a key of %d bytes stands readable in what wraps it", n)
			}
			unwrap(t, first, w, key)
			unwrap(t, second, w, key)
		}
	})
	t.Run("equal keys are wrapped differently", func(t *testing.T) {
		k, key := manager(t), randomKey(t, 32)
		if a, b := wrap(t, k, key), wrap(t, k, key); bytes.Equal(a.Data, b.Data) {
			t.Error("it shows that two keys are equal")
		}
	})
	t.Run("status names the key that wraps", func(t *testing.T) {
		k := manager(t)
		for range 2 {
			st, err := k.Status(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if w := wrap(t, k, randomKey(t, 32)); w.KeyID != st.KeyID {
				t.Errorf("status names key %q, %q wraps", st.KeyID, w.KeyID)
			}
		}
	})
	t.Run("what was changed is refused", func(t *testing.T) { refusesChanges(t, manager(t)) })
	t.Run("calls may come at the same time", func(t *testing.T) {
		k := manager(t)
		var all sync.WaitGroup
		for range 16 {
			all.Go(func() {
				key := make([]byte, 32)
				_, _ = rand.Read(key)
				w, err := k.Wrap(t.Context(), key)
				if err != nil {
					t.Errorf("wrap: %v", err)
					return
				}
				if got, err := k.Unwrap(t.Context(), w); err != nil || !bytes.Equal(got, key) {
					t.Errorf("unwrap: another key, %v", err)
				}
			})
		}
		all.Wait()
	})
	if c.Rotate == nil {
		return
	}
	t.Run("keys from before a rotation are unwrapped", func(t *testing.T) {
		k, key := manager(t), randomKey(t, 32)
		old := wrap(t, k, key)
		c.Rotate(t)
		fresh := wrap(t, k, key)
		if fresh.KeyID == old.KeyID {
			t.Errorf("key %q still wraps", old.KeyID)
		}
		if st, err := k.Status(t.Context()); err != nil || st.KeyID != fresh.KeyID {
			t.Errorf("status after the rotation: %+v, %v", st, err)
		}
		unwrap(t, k, old, key)
		unwrap(t, k, fresh, key)
		unwrap(t, manager(t), old, key)
	})
}

func refusesChanges(t *testing.T, k kms.KeyManager) {
	key := randomKey(t, 32)
	w := wrap(t, k, key)
	refused := func(what string, changed kms.Wrapped) {
		t.Helper()
		if got, err := k.Unwrap(t.Context(), changed); err == nil {
			t.Errorf("%s: unwrapped to %d bytes", what, len(got))
		}
	}
	for i := range w.Data {
		data := slices.Clone(w.Data)
		data[i] ^= 1 << (i % 8)
		refused("a changed byte", kms.Wrapped{KeyID: w.KeyID, Data: data})
	}
	refused("cut short", kms.Wrapped{KeyID: w.KeyID, Data: w.Data[:len(w.Data)-1]})
	refused("something appended", kms.Wrapped{KeyID: w.KeyID, Data: append(slices.Clone(w.Data), 0)})
	refused("nothing", kms.Wrapped{KeyID: w.KeyID})
	refused("another key's name", kms.Wrapped{KeyID: w.KeyID + "-other", Data: w.Data})
	unwrap(t, k, w, key)
}

func randomKey(t testing.TB, n int) []byte {
	t.Helper()
	key := make([]byte, n)
	if _, err := rand.Read(key); err != nil {
		t.Fatal(err)
	}
	return key
}

func wrap(t testing.TB, k kms.KeyManager, key []byte) kms.Wrapped {
	t.Helper()
	w, err := k.Wrap(t.Context(), key)
	if err != nil {
		t.Fatalf("wrap: %v", err)
	}
	return w
}

func unwrap(t testing.TB, k kms.KeyManager, w kms.Wrapped, want []byte) {
	t.Helper()
	got, err := k.Unwrap(t.Context(), w)
	if err != nil {
		t.Fatalf("unwrap: %v", err)
	}
	if !bytes.Equal(got, want) {
		t.Fatal("unwrap gives another key than was wrapped")
	}
}
