package kubeapi_test

import (
	"flag"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	"sigs.k8s.io/yaml"

	"github.com/pintle-dev/pintle/test/golden"
)

// suite is a good object and what is changed in it to make it bad.
type suite struct {
	Base map[string]any `json:"base"`
	// Cases are JSON merge patches of the base, by name. A string is a JSON patch.
	Cases map[string]any `json:"cases"`
}

// TestInvalidObjects compares the refusals of bad objects with those of kube-apiserver:
// fields, reasons and messages.
func TestInvalidObjects(t *testing.T) {
	files, err := filepath.Glob("testdata/invalid/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	count := 0
	for _, file := range files {
		if strings.HasSuffix(file, ".expected.yaml") {
			continue
		}
		name := strings.TrimSuffix(filepath.Base(file), ".yaml")
		t.Run(name, func(t *testing.T) {
			var s suite
			golden.Load(t, "invalid/"+name+".yaml", &s)
			count += len(s.Cases)
			expected := map[string][]string{}
			if *record != "" {
				recordInvalid(t, name, &s)
			}
			golden.Load(t, "invalid/"+name+".expected.yaml", &expected)
			if base := verdict(submit(t, s.object(t, ""))); base != nil {
				t.Fatalf("the base is refused: %q", base)
			}
			for _, c := range slices.Sorted(maps.Keys(s.Cases)) {
				t.Run(c, func(t *testing.T) {
					got := verdict(submit(t, s.object(t, c)))
					if !slices.Equal(got, expected[c]) {
						t.Errorf("refused with\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(expected[c], "\n\t"))
					}
				})
			}
		})
	}
	const least = 150
	if run := flag.Lookup("test.run").Value.String(); count < least && run == "" {
		t.Errorf("%d cases, want at least %d", count, least)
	}
}

func submit(t *testing.T, o map[string]any) error {
	t.Helper()
	typ := typeOf(t, o)
	return write(t, typ, newRequest(typ, o, nil, ""))
}

// object returns the base changed as a case says; "" is the base itself.
func (s *suite) object(t *testing.T, name string) map[string]any {
	t.Helper()
	base, err := yaml.Marshal(s.Base)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := yaml.YAMLToJSON(base)
	if err != nil {
		t.Fatal(err)
	}
	switch c := s.Cases[name].(type) {
	case nil:
	case string:
		text, err := yaml.YAMLToJSON([]byte(c))
		if err != nil {
			t.Fatal(err)
		}
		patch, err := jsonpatch.DecodePatch(text)
		if err != nil {
			t.Fatal(err)
		}
		if raw, err = patch.Apply(raw); err != nil {
			t.Fatal(err)
		}
	default:
		text, err := yaml.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		patch, err := yaml.YAMLToJSON(text)
		if err != nil {
			t.Fatal(err)
		}
		if raw, err = jsonpatch.MergePatch(raw, patch); err != nil {
			t.Fatal(err)
		}
	}
	return parse(t, string(raw))
}

func recordInvalid(t *testing.T, name string, s *suite) {
	t.Helper()
	p := newPeer(t)
	expected := map[string][]string{}
	for c := range s.Cases {
		o := s.object(t, c)
		_, err := p.create(typeOf(t, o), o)
		if expected[c] = verdict(err); expected[c] == nil {
			t.Errorf("%s: kube-apiserver has nothing against it", c)
		}
	}
	golden.Save(t, "invalid/"+name+".expected.yaml", expected)
}
