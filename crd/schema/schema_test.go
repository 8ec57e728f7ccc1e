package schema_test

import (
	"compress/gzip"
	"encoding/json"
	"os"
	"testing"

	utiljson "k8s.io/apimachinery/pkg/util/json"

	"github.com/pintle-dev/pintle/crd/schema"
)

// kubernetes returns the schema of a Kubernetes kind, from components in testdata.
func kubernetes(t testing.TB, name string) *schema.Schema {
	t.Helper()
	f, err := os.Open("testdata/kubernetes.json.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	var all map[string]*schema.Schema
	if err := json.NewDecoder(z).Decode(&all); err != nil {
		t.Fatal(err)
	}
	return &schema.Schema{Ref: name, Root: &schema.Components{Get: func(name string) *schema.Schema { return all[name] }}}
}

func compileBuiltin(t testing.TB, component, kind string) *schema.Compiled {
	t.Helper()
	c, err := schema.NewCompiler(nil).Compile(kubernetes(t, component), schema.Options{Version: "v1", Kind: kind, Builtin: true})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func compile(t testing.TB, text string) *schema.Compiled {
	t.Helper()
	c, err := schema.Compile(parseSchema(t, text))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func parseSchema(t testing.TB, text string) *schema.Schema {
	t.Helper()
	s := &schema.Schema{}
	if err := json.Unmarshal([]byte(text), s); err != nil {
		t.Fatal(err)
	}
	return s
}

func tree(t testing.TB, text string) map[string]any {
	t.Helper()
	var out map[string]any
	if err := utiljson.Unmarshal([]byte(text), &out); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return out
}

func text(t testing.TB, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func podTree(t testing.TB) map[string]any {
	t.Helper()
	b, err := os.ReadFile("testdata/pod.json")
	if err != nil {
		t.Fatal(err)
	}
	return tree(t, string(b))
}
