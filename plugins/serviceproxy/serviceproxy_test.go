package serviceproxy

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/pintle-dev/pintle/sdk/controller"
	"github.com/pintle-dev/pintle/sdk/plugintest"
)

func TestContract(t *testing.T) {
	plugintest.RunController(t, plugintest.ControllerCase{
		Case: plugintest.Case{
			Settings:    json.RawMessage(`{"tableName":"pintle-contract"}`),
			BadSettings: map[string]string{`{"tableName":"7 up"}`: "settings.tableName"},
		},
		New: func() controller.Controller { return New() },
	})
}

func TestSettingsAreRefusedWithTheirField(t *testing.T) {
	for _, tc := range []struct{ name, in, want string }{
		{"unknown key", `{"table":"x"}`, `unknown field "table"`},
		{"not a name", `{"tableName":"a table"}`, "settings.tableName"},
		{"too long", `{"tableName":"` + strings.Repeat("x", 64) + `"}`, "settings.tableName"},
		{"no family", `{"ipFamilies":[]}`, "settings.ipFamilies"},
		{"another family", `{"ipFamilies":["IPv4","IPX"]}`, "settings.ipFamilies[1]"},
		{"twice", `{"ipFamilies":["IPv4","IPv4"]}`, "settings.ipFamilies[1]"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for _, err := range []error{New().Configure(context.Background(), []byte(tc.in)), Clean(context.Background(), []byte(tc.in))} {
				if err == nil || !strings.Contains(err.Error(), tc.want) {
					t.Fatalf("got %v, want an error with %q", err, tc.want)
				}
			}
		})
	}
}
