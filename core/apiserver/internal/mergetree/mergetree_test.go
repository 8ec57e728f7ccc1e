package mergetree

import (
	"encoding/json"
	"reflect"
	"testing"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
)

func FuzzMerge(f *testing.F) {
	f.Add([]byte(`{"a":{"b":1,"c":[1]},"d":null}`), []byte(`{"a":{"b":null,"c":[2],"e":{"f":null,"g":1}}}`))
	f.Add([]byte(`{"a":1}`), []byte(`{"a":{"b":{"c":null}}}`))
	f.Fuzz(func(t *testing.T, target, patch []byte) {
		var a, b map[string]any
		if json.Unmarshal(target, &a) != nil || json.Unmarshal(patch, &b) != nil || a == nil || b == nil {
			return
		}
		before, _ := json.Marshal(a)
		got := Merge(a, b)
		if after, _ := json.Marshal(a); string(after) != string(before) {
			t.Fatal("the target was changed")
		}
		// The library agrees wherever it follows RFC 7396: it keeps nulls that are new.
		ref, err := jsonpatch.MergePatch(before, patch)
		if err != nil {
			return
		}
		var want map[string]any
		if json.Unmarshal(ref, &want) != nil {
			return
		}
		if !reflect.DeepEqual(dropNulls(got), dropNulls(want)) {
			t.Fatalf("%s + %s: %v, want %v", before, patch, got, want)
		}
	})
}

func dropNulls(m map[string]any) map[string]any {
	out := map[string]any{}
	for k, v := range m {
		switch v := v.(type) {
		case nil:
		case map[string]any:
			out[k] = dropNulls(v)
		default:
			out[k] = v
		}
	}
	return out
}
