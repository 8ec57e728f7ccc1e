package protocol_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/runtime"
	"pgregory.net/rapid"

	pluginv1 "github.com/pintle-dev/pintle/sdk/proto/plugin/v1"
	"github.com/pintle-dev/pintle/sdk/protocol"
)

// trees are objects as both ends have them: what comes out of the decoder.
func trees() *rapid.Generator[map[string]any] {
	key := rapid.SampledFrom([]string{"a", "b", "c", "metadata", "ü", `"`, "", "x/y"})
	return rapid.Custom(func(t *rapid.T) map[string]any {
		raw, err := protocol.EncodeTreeLoosely(rapid.MapOfN(key, values(), 0, 6).Draw(t, "tree"))
		if err != nil {
			t.Fatal(err)
		}
		tree, err := protocol.DecodeTree(raw)
		if err != nil {
			t.Fatal(err)
		}
		return tree
	})
}

// alter changes some of a tree, in place.
func alter(t *rapid.T, m map[string]any) {
	for k, v := range m {
		switch rapid.IntRange(0, 5).Draw(t, "what") {
		case 0:
			delete(m, k)
		case 1:
			m[k] = values().Draw(t, "value")
		case 2:
			if list, ok := v.([]any); ok && len(list) > 0 {
				if inner, ok := list[0].(map[string]any); ok {
					alter(t, inner)
				}
				m[k] = list[:rapid.IntRange(0, len(list)).Draw(t, "length")]
			}
		case 3:
			if inner, ok := v.(map[string]any); ok {
				alter(t, inner)
			}
		}
	}
	if rapid.Bool().Draw(t, "more") {
		m["new"] = values().Draw(t, "value")
	}
}

// Whatever is changed: the changes make of the one what the other is, and nothing else of anything.
func TestChangesMakeOfOneObjectTheOther(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		before := trees().Draw(t, "before")
		came, err := protocol.EncodeTreeLoosely(before)
		if err != nil {
			t.Fatal(err)
		}
		after := runtime.DeepCopyJSON(before)
		alter(t, after)
		canonical, err := protocol.EncodeTree(after)
		if err != nil {
			t.Fatal(err)
		}
		if asJSON, err := protocol.DecodeTree(canonical); err != nil {
			t.Fatal(err)
		} else if canonical, err = protocol.EncodeTree(asJSON); err != nil { // strings are valid UTF-8 now
			t.Fatal(err)
		}
		changes, whole, err := protocol.ChangesOrWhole(came, after)
		if err != nil || whole != nil {
			t.Fatalf("%s, %v", whole, err)
		}
		kept := runtime.DeepCopyJSON(before)
		got, err := protocol.ApplyChanges(before, changes)
		if err != nil {
			t.Fatal(err)
		}
		if raw, err := protocol.EncodeTree(got); err != nil || string(raw) != string(canonical) {
			t.Fatalf("%s\nchanged to\n%s\nby %v became\n%s, %v", came, canonical, changes, raw, err)
		}
		if !reflect.DeepEqual(before, kept) {
			t.Fatalf("what was given was changed by %v: %v, was %v", changes, before, kept)
		}
		if again, _, err := protocol.ChangesOrWhole(came, kept); err != nil || len(again) > 0 {
			t.Fatalf("of nothing: %v, %v", again, err)
		}
	})
}

func TestChangesNameNoMoreThanWasChanged(t *testing.T) {
	came := []byte(`{"metadata":{"name":"x","labels":{"a":"1"}},"spec":{"list":[{"a":1},{"b":2}],"deep":{"n":5}},"n":null}`)
	for name, c := range map[string]struct {
		change func(map[string]any)
		want   string
	}{
		"nothing":        {func(map[string]any) {}, ""},
		"a label":        {func(m map[string]any) { m["metadata"].(map[string]any)["labels"].(map[string]any)["b"] = "2" }, `[metadata labels b]="2"`},
		"a list's part":  {func(m map[string]any) { m["spec"].(map[string]any)["list"].([]any)[1] = int64(3) }, `[spec list]=[{"a":1},3]`},
		"removal":        {func(m map[string]any) { delete(m["spec"].(map[string]any), "deep") }, `[spec deep]=`},
		"null":           {func(m map[string]any) { m["metadata"].(map[string]any)["name"] = nil }, `[metadata name]=null`},
		"not null":       {func(m map[string]any) { m["n"] = map[string]any{} }, `[n]={}`},
		"another type":   {func(m map[string]any) { m["spec"] = "gone" }, `[spec]="gone"`},
		"an author's":    {func(m map[string]any) { m["spec"].(map[string]any)["deep"] = map[string]int{"n": 5} }, ""},
		"an author's, 2": {func(m map[string]any) { m["spec"].(map[string]any)["list"] = []string{"x"} }, `[spec list]=["x"]`},
	} {
		t.Run(name, func(t *testing.T) {
			tree, err := protocol.DecodeTree(came)
			if err != nil {
				t.Fatal(err)
			}
			c.change(tree)
			changes, whole, err := protocol.ChangesOrWhole(came, tree)
			if err != nil || whole != nil {
				t.Fatalf("%s, %v", whole, err)
			}
			var got []string
			for _, x := range changes {
				got = append(got, fmt.Sprintf("%v=%s", x.GetPath(), x.GetValue()))
			}
			if g := strings.Join(got, " "); g != c.want {
				t.Errorf("changes %q, want %q", g, c.want)
			}
		})
	}
}

func TestWhatHasChangedALotIsSentWhole(t *testing.T) {
	tree := map[string]any{}
	for i := range 100 {
		tree[fmt.Sprint(i)] = "new"
	}
	for _, came := range []string{`{}`, ``} {
		changes, whole, err := protocol.ChangesOrWhole([]byte(came), tree)
		if err != nil || len(changes) > 0 || len(whole) == 0 {
			t.Errorf("%q: %d changes, %d bytes, %v", came, len(changes), len(whole), err)
		}
	}
}

func TestChangesThatMakeNoSenseAreRefused(t *testing.T) {
	object := map[string]any{"spec": map[string]any{"n": int64(1)}, "list": []any{}}
	deep := strings.Repeat(`{"a":`, 300) + "1" + strings.Repeat("}", 300)
	for name, c := range map[string][]*pluginv1.Change{
		"no path":         {{Value: []byte(`{}`)}},
		"through a list":  {{Path: []string{"list", "0", "a"}, Value: []byte(`1`)}},
		"through nothing": {{Path: []string{"no", "a"}, Value: []byte(`1`)}},
		"garbage":         {{Path: []string{"spec"}, Value: []byte(`{`)}},
		"more than one":   {{Path: []string{"spec"}, Value: []byte(`1 2`)}},
		"too deep":        {{Path: make([]string, 1000), Value: []byte(`1`)}},
		"a deep value":    {{Path: []string{"spec"}, Value: []byte(deep)}},
		"too many":        make([]*pluginv1.Change, 10000),
		"nothing":         {nil},
	} {
		if out, err := protocol.ApplyChanges(object, c); err == nil {
			t.Errorf("%s: %v", name, out)
		}
	}
	if _, err := protocol.ApplyChanges(nil, []*pluginv1.Change{{Path: []string{"a"}, Value: []byte("1")}}); err == nil {
		t.Error("an object that is not there was changed")
	}
}

func BenchmarkChanges(b *testing.B) {
	came := []byte(`{"metadata":{"name":"x","labels":{"a":"1"}},"spec":{"list":[` + strings.Repeat(`{"name":"container","image":"registry.example.org/team/application","env":[{"name":"A","value":"b"}]},`, 20) + `{"b":2}],"deep":{"n":5}},"n":null}`)
	tree, err := protocol.DecodeTree(came)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("decode", func(b *testing.B) {
		for b.Loop() {
			_, _ = protocol.DecodeTree(came)
		}
	})
	b.Run("encode in order", func(b *testing.B) {
		for b.Loop() {
			_, _ = protocol.EncodeTree(tree)
		}
	})
	b.Run("encode", func(b *testing.B) {
		for b.Loop() {
			_, _ = protocol.EncodeTreeLoosely(tree)
		}
	})
	b.Run("changes", func(b *testing.B) {
		for b.Loop() {
			_, _, _ = protocol.ChangesOrWhole(came, tree)
		}
	})
}
