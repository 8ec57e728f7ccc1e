package encryption_test

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"

	"github.com/pintle-dev/pintle/core/encryption"
	"github.com/pintle-dev/pintle/core/store"
)

func TestEnvelopesOpenForTheirObjectOnly(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		key := rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "key")
		data := rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "data")
		name := store.Key(rapid.StringMatching(`[a-z]{1,8}/[a-z]{0,300}/[a-z]{1,8}`).Draw(t, "name"))
		at := rapid.IntRange(-1, len(data)).Draw(t, "at")
		id := rapid.Uint64().Draw(t, "id")
		envelope, err := encryption.SealWith(key, id, name, at, data)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := encryption.OpenWith(key, name, at, envelope); err != nil || !bytes.Equal(got, data) {
			t.Fatalf("opened: %q, %v", got, err)
		}
		if len(data) > 8 && bytes.Contains(envelope, data) {
			t.Fatal("it stands open in its envelope")
		}
		if again, _ := encryption.SealWith(key, id, name, at, data); bytes.Equal(again, envelope) {
			t.Fatal("the same nonce twice")
		}
		refused := func(what string, key []byte, name store.Key, at int, envelope []byte) {
			if _, err := encryption.OpenWith(key, name, at, envelope); err == nil {
				t.Fatalf("%s was opened", what)
			}
		}
		changed := bytes.Clone(envelope)
		changed[rapid.IntRange(0, len(changed)-1).Draw(t, "byte")] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		refused("a changed envelope", key, name, at, changed)
		refused("what was cut short", key, name, at, envelope[:rapid.IntRange(0, len(envelope)-1).Draw(t, "length")])
		refused("another object's", key, name+"x", at, envelope)
		refused("one with its revision elsewhere", key, name, at+1, envelope)
		other := bytes.Clone(key)
		other[0]++
		refused("another key's", other, name, at, envelope)
	})
}

func FuzzEnvelope(f *testing.F) {
	key := make([]byte, 32)
	envelope, err := encryption.SealWith(key, 7, "secrets/a/x", 3, []byte("hidden"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(envelope)
	f.Add([]byte{1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := encryption.OpenWith(key, "secrets/a/x", 3, b)
		if err == nil && !bytes.Equal(b, envelope) {
			t.Fatalf("%x was opened: %q", b, got)
		}
	})
}

func TestResources(t *testing.T) {
	r, err := encryption.ParseResources([]string{"secrets", "widgets.example.dev", "*.acme.io"})
	if err != nil {
		t.Fatal(err)
	}
	core, err := encryption.ParseResources([]string{"*."})
	if err != nil {
		t.Fatal(err)
	}
	all, err := encryption.ParseResources([]string{"*.*"})
	if err != nil {
		t.Fatal(err)
	}
	for bucket, want := range map[string][3]bool{
		"secrets":              {true, true, true},
		"pods":                 {false, true, true},
		"widgets.example.dev":  {true, false, true},
		"gadgets.example.dev":  {false, false, true},
		"secrets.acme.io":      {true, false, true},
		"anything.acme.io":     {true, false, true},
		"anything.sub.acme.io": {false, false, true},
		store.KeyBucket:        {false, false, false},
		"":                     {false, false, false},
	} {
		if got := [3]bool{r.Has(bucket), core.Has(bucket), all.Has(bucket)}; got != want {
			t.Errorf("%q: %v, want %v", bucket, got, want)
		}
	}
	if none, err := encryption.ParseResources(nil); err != nil || none.Any() || none.Has("secrets") || !all.Any() || !r.Any() || !core.Any() {
		t.Errorf("nothing: %+v, %v", none, err)
	}
	for _, bad := range []string{"", "*", "Secrets", "secrets.", "a/b", ".example.dev", "*.Example", "*.*.dev", "widgets.example_dev"} {
		if _, err := encryption.ParseResources([]string{"secrets", bad}); err == nil {
			t.Errorf("%q is taken for a name", bad)
		}
	}
}
