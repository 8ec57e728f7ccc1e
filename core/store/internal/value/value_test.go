package value_test

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/pintle-dev/pintle/core/store/internal/value"
)

func TestRevisionIsInserted(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		data := rapid.StringMatching(`[a-z{}"]{0,300}`).Draw(t, "data")
		at := rapid.IntRange(-1, len(data)).Draw(t, "at")
		first, second := rapid.Uint64().Draw(t, "first"), rapid.Uint64().Draw(t, "second")
		with := func(revision uint64) string {
			if at < 0 {
				return data
			}
			return data[:at] + fmt.Sprint(revision) + data[at:]
		}
		v := value.Make([]byte(data), at, first)
		if got := string(v.Data()); got != with(first) || !v.Valid(first) {
			t.Fatalf("made %q, want %q", got, with(first))
		}
		if got := string(v.WithRevision(first, second).Data()); got != with(second) {
			t.Fatalf("with another revision %q, want %q", got, with(second))
		}
		if got := string(v.Data()); got != with(first) {
			t.Fatal("the first was changed")
		}
		if at >= 0 && first != second && v.Valid(second) && len(fmt.Sprint(first)) == len(fmt.Sprint(second)) {
			t.Fatal("valid with a wrong revision")
		}
	})
}
