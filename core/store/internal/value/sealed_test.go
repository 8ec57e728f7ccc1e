package value_test

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"

	"github.com/pintle-dev/pintle/core/store/internal/value"
)

func TestSealedValuesAreToldFromOthers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		data := rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "data")
		at := rapid.IntRange(-1, len(data)).Draw(t, "at")
		revision := rapid.Uint64().Draw(t, "revision")
		if rapid.Bool().Draw(t, "long") {
			at = rapid.IntRange(-1, 8<<20).Draw(t, "far")
		}
		v := value.MakeSealed(data, at)
		envelope, got, ok := v.Envelope()
		if !ok || got != at || !bytes.Equal(envelope, data) {
			t.Fatalf("envelope %x at %d, %v", envelope, got, ok)
		}
		if at >= 0 && v.Valid(revision) {
			t.Fatal("who does not know sealed values takes it for an object")
		}
		at = min(at, len(data))
		open := value.Make(data, at, revision)
		if _, _, ok := open.Envelope(); ok {
			t.Fatal("an open value is taken for a sealed one")
		}
		if back, place := open.Parts(revision); !bytes.Equal(back, data) || place != at {
			t.Fatalf("parts %x at %d, want %x at %d", back, place, data, at)
		}
	})
}
