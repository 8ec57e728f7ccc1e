package protocol_test

import (
	"encoding/json"
	"math"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"
	kjson "sigs.k8s.io/json"

	"github.com/pintle-dev/pintle/sdk/protocol"
)

func values() *rapid.Generator[any] {
	text := rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"", `"`, `\`, "a\u2028b", "<&>", "\x00", "ü", "\xff"}))
	return rapid.Deferred(func() *rapid.Generator[any] {
		return rapid.OneOf(
			rapid.Just[any](nil), rapid.Bool().AsAny(), text.AsAny(), rapid.Int64().AsAny(),
			rapid.Float64Range(-1e30, 1e30).AsAny(), rapid.SampledFrom([]float64{0.5, 1e-9, 1e21, math.MaxFloat64, -0.25}).AsAny(),
			rapid.SliceOfN(values(), 0, 3).AsAny(), rapid.MapOfN(text, values(), 0, 3).AsAny(),
		)
	})
}

// The codec is a faster encoding/json, to the byte but for the escapes of HTML.
func TestTreesAreEncodedAndDecodedAsByTheStandardLibrary(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tree := rapid.MapOfN(rapid.String(), values(), 0, 4).Draw(t, "tree")
		got, err := protocol.EncodeTree(tree)
		if err != nil {
			t.Fatal(err)
		}
		loose, err := protocol.EncodeTreeLoosely(tree)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := protocol.DecodeTree(loose); err != nil || len(tree) > 0 && len(loose) != len(got) {
			t.Fatalf("%s\n%s\n%v %v", got, loose, back, err)
		}
		std, err := json.Marshal(tree)
		if err != nil {
			t.Fatal(err)
		}
		var want, viaOurs map[string]any
		if err := kjson.UnmarshalCaseSensitivePreserveInts(std, &want); err != nil {
			t.Fatal(err)
		}
		if err := kjson.UnmarshalCaseSensitivePreserveInts(got, &viaOurs); err != nil {
			t.Fatalf("%s: %v", got, err)
		}
		if !reflect.DeepEqual(viaOurs, want) {
			t.Fatalf("encoded\n%s\nas\n%s", std, got)
		}
		back, err := protocol.DecodeTree(std)
		if err != nil || !reflect.DeepEqual(back, want) {
			t.Fatalf("decoded %s: %#v, %v", std, back, err)
		}
		again, err := protocol.EncodeTree(back)
		if err != nil || string(again) != string(got) && len(tree) > 0 && !strings.Contains(string(std), "e") && !strings.Contains(string(std), "ufffd") {
			t.Fatalf("not canonical:\n%s\n%s\n%v", got, again, err)
		}
	})
}

// Whatever bytes come, the decoder takes what the standard library takes and nothing else.
func FuzzDecodeTree(f *testing.F) {
	for _, s := range []string{`{}`, `{"a":[1,2.5,-0,1e3,"x\n\u00e9",null,true]}`, ` { "a" : { } } `, `{"a":01}`, `{"a":-}`, `[1]`, `null`, `{"a":1}x`, `{"a":"` + "\x01" + `"}`, `{"a":9223372036854775808}`, `{"\ud800":1}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) == 0 || strings.Count(string(b), "[")+strings.Count(string(b), "{") > 200 {
			return
		}
		var want map[string]any
		wantErr := kjson.UnmarshalCaseSensitivePreserveInts(b, &want)
		got, err := protocol.DecodeTree([]byte(string(b)))
		if (err == nil) != (wantErr == nil && want != nil) {
			t.Fatalf("%q: %v, the standard library: %v", b, err, wantErr)
		}
		if err == nil && !reflect.DeepEqual(got, want) {
			t.Fatalf("%q: %#v, the standard library: %#v", b, got, want)
		}
	})
}

func TestDeepTreesAreRefused(t *testing.T) {
	deep := strings.Repeat(`{"a":`, 1000) + "1" + strings.Repeat("}", 1000)
	if _, err := protocol.DecodeTree([]byte(deep)); err == nil || !strings.Contains(err.Error(), "levels deep") {
		t.Errorf("error: %v", err)
	}
}
