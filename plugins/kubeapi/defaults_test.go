package kubeapi_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/tree"
	"github.com/pintle-dev/pintle/test/golden"
)

// TestDefaults compares objects as they come out of the write path with what
// kube-apiserver makes of them.
func TestDefaults(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join("testdata", "defaults.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	expected := map[string]map[string]any{}
	if *record != "" {
		p := newPeer(t)
		for _, o := range documents(t, string(raw)) {
			got, err := p.create(typeOf(t, o), o)
			if err != nil {
				t.Errorf("%s: %v", title(o), err)
				continue
			}
			expected[title(o)] = stripped(got)
		}
		golden.Save(t, "defaults.expected.yaml", expected)
	}
	golden.Load(t, "defaults.expected.yaml", &expected)
	for _, o := range documents(t, string(raw)) {
		t.Run(title(o), func(t *testing.T) {
			want, _ := ints(expected[title(o)]).(map[string]any)
			if want == nil {
				t.Fatal("no expectation")
			}
			typ := typeOf(t, o)
			r := newRequest(typ, clone(t, o), nil, "")
			if err := write(t, typ, r); err != nil {
				t.Fatal(err)
			}
			compare(t, "", stripped(r.Object), want)

			// Defaults of what has its defaults change nothing.
			again := newRequest(typ, clone(t, r.Object), clone(t, r.Object), "")
			if err := write(t, typ, again); err != nil {
				t.Fatalf("an update without a change: %v", err)
			}
			compare(t, "", stripped(again.Object), want)
		})
	}
}

func title(o map[string]any) string {
	return fmt.Sprintf("%s/%s", o["kind"], tree.Str(tree.Map(o, "metadata"), "name"))
}

func documents(t *testing.T, text string) []map[string]any {
	t.Helper()
	var out []map[string]any
	for _, d := range strings.Split(text, "\n---\n") {
		if o := parse(t, d); len(o) > 0 {
			out = append(out, o)
		}
	}
	return out
}

var (
	tokenVolume = regexp.MustCompile(`^kube-api-access-[a-z0-9]{5}$`)
	recent      = regexp.MustCompile(`^20(2[6-9]|[3-9]\d)-\d\d-\d\dT\d\d:\d\d:\d\dZ$`)
	clusterIP   = regexp.MustCompile(`^10\.96\.\d+\.\d+$`)
)

// stripped is an object without what the server makes up or adds to every object.
func stripped(o map[string]any) map[string]any {
	o = tree.CopyMap(o)
	meta := tree.Map(o, "metadata")
	for _, key := range [...]string{"uid", "creationTimestamp", "managedFields", "resourceVersion", "generation", "namespace"} {
		delete(meta, key)
	}
	return masked(o).(map[string]any)
}

// masked replaces what is given out at random.
func masked(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k, e := range v {
			if k == "nodePort" || k == "healthCheckNodePort" {
				v[k] = "PORT"
				continue
			}
			v[k] = masked(e)
		}
	case []any:
		for i, e := range v {
			v[i] = masked(e)
		}
	case string:
		switch {
		case tokenVolume.MatchString(v):
			return "kube-api-access-XXXXX"
		case recent.MatchString(v):
			return "NOW"
		case clusterIP.MatchString(v):
			return "CLUSTER-IP"
		}
	}
	return v
}

// compare reports each difference with its path. A field that is absent is the same as
// one with Go's zero value, which Go's encoder leaves out.
func compare(t *testing.T, path string, got, want any) {
	t.Helper()
	if tree.Equal(got, want) || zero(got) && zero(want) {
		return
	}
	switch w := want.(type) {
	case map[string]any:
		g, ok := got.(map[string]any)
		if !ok {
			break
		}
		for k := range w {
			compare(t, path+"."+k, g[k], w[k])
		}
		for k := range g {
			if _, ok := w[k]; !ok {
				compare(t, path+"."+k, g[k], nil)
			}
		}
		return
	case []any:
		g, ok := got.([]any)
		if !ok || len(g) != len(w) {
			break
		}
		for i := range w {
			compare(t, fmt.Sprintf("%s[%d]", path, i), g[i], w[i])
		}
		return
	}
	t.Errorf("%s: have %v, want %v", path, got, want)
}

func zero(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case string:
		return v == ""
	case bool:
		return !v
	case int64:
		return v == 0
	case map[string]any:
		for _, e := range v {
			if !zero(e) {
				return false
			}
		}
		return true
	case []any:
		return len(v) == 0
	}
	return false
}
