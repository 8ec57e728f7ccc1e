package plugin_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/pintle-dev/pintle/sdk/plugin"
)

type pool struct {
	Name string `json:"name"`
	Size uint8  `json:"size"`
}

type poolSettings struct {
	Workers int            `json:"workers"`
	Eager   bool           `json:"eager"`
	Ratio   float64        `json:"ratio"`
	Tags    []string       `json:"tags"`
	Main    pool           `json:"main"`
	Pools   []pool         `json:"pools"`
	Extra   map[string]any `json:"extra"`
}

func poolDefaults() poolSettings {
	return poolSettings{Workers: 4, Eager: true, Tags: []string{"a", "b"}, Main: pool{Name: "main", Size: 1}}
}

func TestDecodeSettings(t *testing.T) {
	for _, tc := range []struct {
		name, in string
		change   func(*poolSettings)
	}{
		{"nothing", ``, nil},
		{"white space", " \n", nil},
		{"null", ` null `, nil},
		{"an empty object", `{}`, nil},
		{"a null field keeps its default", `{"workers":null}`, nil},
		{"fields", "{\"workers\":7,\"eager\":false}\n", func(s *poolSettings) { s.Workers, s.Eager = 7, false }},
		{"a list takes the place of the default", `{"tags":["c"]}`, func(s *poolSettings) { s.Tags = []string{"c"} }},
		{"within an object the rest stays", `{"main":{"size":9}}`, func(s *poolSettings) { s.Main.Size = 9 }},
		{"integers stay integers", `{"extra":{"n":1}}`, func(s *poolSettings) { s.Extra = map[string]any{"n": int64(1)} }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, want := poolDefaults(), poolDefaults()
			if tc.change != nil {
				tc.change(&want)
			}
			if err := plugin.DecodeSettings([]byte(tc.in), &got); err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("got %+v, want %+v", got, want)
			}
		})
	}
}

func TestDecodeSettingsRefuses(t *testing.T) {
	for _, tc := range []struct{ name, in, want string }{
		{"an unknown field", `{"worker":1}`, `unknown field "worker"`},
		{"another case", `{"Workers":1}`, `unknown field "Workers"`},
		{"an unknown field further in", `{"main":{"sise":1}}`, `unknown field "main.sise"`},
		{"an unknown field in a list", `{"pools":[{"size":1},{"sise":1}]}`, `unknown field "pools[1].sise"`},
		{"all of them", `{"a":1,"main":{"b":1}}`, `unknown field "a"; unknown field "main.b"`},
		{"twice", `{"workers":1,"workers":2}`, `duplicate field "workers"`},
		{"a string for an integer", `{"workers":"many"}`, `workers: must be an integer of 64 bits, is string`},
		{"a fraction for an integer", `{"workers":1.5}`, `workers: must be an integer of 64 bits, is number 1.5`},
		{"too large", `{"main":{"size":256}}`, `main.size: must be an integer of 8 bits that is not negative, is number 256`},
		{"a number for a boolean", `{"eager":1}`, `eager: must be a boolean, is number`},
		{"a boolean for a number", `{"ratio":true}`, `ratio: must be a number, is bool`},
		{"a string for a list", `{"tags":"a"}`, `tags: must be a list, is string`},
		{"a list for a string", `{"main":{"name":[]}}`, `main.name: must be a string, is array`},
		{"a list for an object", `{"main":[]}`, `main: must be an object, is array`},
		{"no object", `[]`, `must be an object`},
		{"half an object", `{"workers":1`, `not valid JSON`},
		{"no JSON", `workers: 1`, `not valid JSON`},
		{"two objects", `{} {}`, `more than one JSON value`},
		{"something behind", `{} x`, `more than one JSON value`},
		{"something behind null", `null {}`, `more than one JSON value`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := poolDefaults()
			err := plugin.DecodeSettings([]byte(tc.in), &got)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want an error with %q", err, tc.want)
			}
		})
	}
}
