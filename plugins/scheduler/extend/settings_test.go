package extend_test

import (
	"strings"
	"testing"

	"github.com/pintle-dev/pintle/plugins/scheduler/extend"
)

func TestSettings(t *testing.T) {
	weight := func(n int64) *int64 { return &n }
	for _, tc := range []struct {
		name string
		list []extend.Setting
		want string
	}{
		{"none", nil, ""},
		{"all there is", []extend.Setting{{Plugin: "a", Weight: weight(100), FailurePolicy: extend.Ignore, TimeoutSeconds: 30}, {Plugin: "b"}}, ""},
		{"no name", []extend.Setting{{}}, "extensions[0].plugin: must name a plugin"},
		{"twice", []extend.Setting{{Plugin: "a"}, {Plugin: "a"}}, `extensions[1].plugin: "a" is named twice`},
		{"weight", []extend.Setting{{Plugin: "a", Weight: weight(101)}}, "extensions[0].weight: must be 0 to 100, is 101"},
		{"policy", []extend.Setting{{Plugin: "a", FailurePolicy: "Hope"}}, `extensions[0].failurePolicy: must be Fail or Ignore, is "Hope"`},
		{"timeout", []extend.Setting{{Plugin: "a", TimeoutSeconds: 31}}, "extensions[0].timeoutSeconds: must be 1 to 30, is 31"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := extend.Settings{Extensions: tc.list}.Validate()
			if (err == nil) != (tc.want == "") || (err != nil && !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}
