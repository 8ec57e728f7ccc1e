package jsontree

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestDecodeKeepsManagedFieldsAsBytes(t *testing.T) {
	o, err := Decode([]byte(`{"metadata": {"managedFields": [ {"a":1} ], "name":"x"}, "spec":{"metadata":{"managedFields":[]}}}`))
	if err != nil {
		t.Fatal(err)
	}
	if got := string(o.ManagedFields); got != `[ {"a":1} ]` {
		t.Errorf("managed fields %s", got)
	}
	want := map[string]any{"metadata": map[string]any{"name": "x"},
		"spec": map[string]any{"metadata": map[string]any{"managedFields": []any{}}}}
	if !reflect.DeepEqual(o.Tree, want) {
		t.Errorf("tree %v", o.Tree)
	}
}

func TestDecodeDuplicates(t *testing.T) {
	o, err := Decode([]byte(`{"a":1,"a":2,"b":[{"c":1,"c":2}],"d":{"e":{"f":1},"e":3}}`))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"a", "b[0].c", "d.e"}
	if !reflect.DeepEqual(o.Duplicates, want) {
		t.Errorf("duplicates %v, want %v", o.Duplicates, want)
	}
	if o.Tree["a"] != int64(2) {
		t.Errorf("the last occurrence does not count: %v", o.Tree["a"])
	}
}

func TestDecodeRefuses(t *testing.T) {
	for _, in := range []string{"", "{", `{"a"`, `{"a":}`, `{"a":1,}`, `{"a":01}`, `{"a":1.}`, `{"a":1e}`, `{"a":"\x"}`,
		`{"a":"` + "\x01" + `"}`, `{} x`, `[]`, `1`, `{"a":tru}`, `{"a":[1,]}`, `{a:1}`, `{"a":1e999}`,
		`{"metadata":{"managedFields":[}}`, strings.Repeat(`{"a":`, 300) + "1" + strings.Repeat("}", 300)} {
		if o, err := Decode([]byte(in)); err == nil {
			t.Errorf("%q gave %v", in, o.Tree)
		}
	}
}

func TestEncodeLeavesRoomForTheRevision(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{`{"kind":"A","apiVersion":"v1","metadata":{"uid":"u","name":"n","resourceVersion":"7"}}`,
			`{"apiVersion":"v1","kind":"A","metadata":{"name":"n","resourceVersion":"42","uid":"u"}}`},
		{`{"metadata":{"uid":"u","managedFields":[1]}}`, `{"metadata":{"managedFields":[1],"resourceVersion":"42","uid":"u"}}`},
		{`{"metadata":{"name":"n","managedFields":[1]}}`, `{"metadata":{"managedFields":[1],"name":"n","resourceVersion":"42"}}`},
		{`{"metadata":{}}`, `{"metadata":{"resourceVersion":"42"}}`},
	} {
		o, err := Decode([]byte(c.in))
		if err != nil {
			t.Fatal(err)
		}
		data, at := Encode(o.Tree, o.ManagedFields)
		got := string(data[:at]) + "42" + string(data[at:])
		if got != c.want {
			t.Errorf("%s gave %s, want %s", c.in, got, c.want)
		}
	}
	if _, at := Encode(map[string]any{"a": int64(1)}, nil); at != -1 {
		t.Error("an object without metadata has no place for a revision")
	}
}

func tree() *rapid.Generator[any] {
	scalar := rapid.OneOf(
		rapid.Just[any](nil), rapid.Map(rapid.Bool(), func(b bool) any { return b }),
		rapid.Map(rapid.Int64(), func(i int64) any { return i }),
		rapid.Map(rapid.Float64(), func(f float64) any { return f }),
		rapid.Map(rapid.String(), func(s string) any { return s }))
	var gen func(depth int) *rapid.Generator[any]
	gen = func(depth int) *rapid.Generator[any] {
		if depth == 0 {
			return scalar
		}
		return rapid.OneOf(scalar,
			rapid.Map(rapid.SliceOfN(gen(depth-1), 0, 4), func(a []any) any { return append([]any{}, a...) }),
			rapid.Map(rapid.MapOfN(rapid.String(), gen(depth-1), 0, 4), func(m map[string]any) any { return m }))
	}
	return gen(3)
}

func TestRoundTripAgreesWithEncodingJSON(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := tree().Draw(t, "v")
		ours := Append(nil, v)
		if !json.Valid(ours) {
			t.Fatalf("not JSON: %s", ours)
		}
		back, err := DecodeValue(ours)
		if err != nil {
			t.Fatalf("%s: %v", ours, err)
		}
		if !Equal(v, back) {
			t.Fatalf("%#v became %#v", v, back)
		}
		// The second encoding is canonical: -0 has become 0.
		again := Append(nil, back)
		if back, err = DecodeValue(again); err != nil {
			t.Fatalf("%s: %v", again, err)
		}
		if third := Append(nil, back); !bytes.Equal(again, third) {
			t.Fatalf("not canonical: %s then %s", again, third)
		}
	})
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"metadata":{"managedFields":[{"a":"\ud83d\ude00"}],"name":"\u00e9"},"x":[1,2.5,-3e2,true,null]}`))
	f.Add([]byte(`{"a":"\ud800","b":"\u12","c":{}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		o, err := Decode(data)
		var std map[string]any
		stdErr := json.Unmarshal(data, &std)
		if err == nil && stdErr != nil {
			t.Fatalf("accepted %q, which encoding/json refuses: %v", data, stdErr)
		}
		if err != nil {
			return
		}
		out, _ := Encode(o.Tree, o.ManagedFields)
		if !json.Valid(out) {
			t.Fatalf("%q became %q", data, out)
		}
	})
}

var sample = []byte(`{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p","namespace":"default","labels":{"app":"x","tier":"y"},"uid":"9f8e1f5e-6d0a-4a70-a6d6-111111111111","managedFields":[{"manager":"m","operation":"Update","fieldsV1":{"f:metadata":{"f:labels":{".":{},"f:app":{}}}}}]},"spec":{"containers":[{"name":"c","image":"registry.example/app:1","env":[{"name":"A","value":"1"},{"name":"B","value":"2"}],"resources":{"limits":{"cpu":"100m","memory":"128Mi"},"requests":{"cpu":"100m","memory":"128Mi"}},"ports":[{"containerPort":8080,"protocol":"TCP"}],"terminationMessagePath":"/dev/termination-log","imagePullPolicy":"IfNotPresent"}],"restartPolicy":"Always","terminationGracePeriodSeconds":30,"dnsPolicy":"ClusterFirst","schedulerName":"default-scheduler"},"status":{"phase":"Pending","qosClass":"Guaranteed"}}`)

func BenchmarkDecode(b *testing.B) {
	b.ReportAllocs()
	b.SetBytes(int64(len(sample)))
	for b.Loop() {
		if _, err := Decode(sample); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEncode(b *testing.B) {
	o, _ := Decode(sample)
	b.ReportAllocs()
	for b.Loop() {
		Encode(o.Tree, o.ManagedFields)
	}
}
