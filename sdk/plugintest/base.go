package plugintest

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/pintle-dev/pintle/sdk/plugin"
	"github.com/pintle-dev/pintle/sdk/remote"
)

// Case is what all suites need to know of a plugin.
type Case struct {
	// Settings to configure it with, as JSON; none means the schema's defaults.
	Settings json.RawMessage
	// BadSettings maps settings that must be refused to the path that the error must
	// name, such as "settings.workers".
	BadSettings map[string]string
}

// runBase holds a plugin to what every plugin must do.
func (c Case) runBase(t *testing.T, start func(testing.TB) *Harness) {
	t.Helper()
	t.Run("info", func(t *testing.T) {
		info := start(t).Client.Info()
		if msgs := validation.IsDNS1123Label(info.Name); len(msgs) > 0 {
			t.Errorf("name %q: %s", info.Name, msgs[0])
		}
		if info.Version == "" {
			t.Error("version is empty")
		}
		for i, r := range info.Permissions {
			if len(r.Verbs) == 0 || len(r.Resources)+len(r.NonResourceURLs) == 0 {
				t.Errorf("permission %d allows nothing: %+v", i, r)
			}
		}
	})
	t.Run("settings", func(t *testing.T) { configure(t, start(t).Client, c.Settings) })
	for bad, path := range c.BadSettings {
		t.Run("bad settings "+bad, func(t *testing.T) {
			client := start(t).Client
			err := tryConfigure(t.Context(), client, json.RawMessage(bad))
			if err == nil {
				t.Fatalf("accepted: %s", bad)
			}
			if !strings.Contains(err.Error(), path) {
				t.Errorf("the error does not name %q: %v", path, err)
			}
		})
	}
}

// tryConfigure does what a host does with settings.
func tryConfigure(ctx context.Context, p plugin.Plugin, settings []byte) error {
	checked, err := remote.CheckSettings(ctx, p.ConfigSchema(), settings)
	if err != nil {
		return err
	}
	return p.Configure(ctx, checked)
}

func configure(t testing.TB, p plugin.Plugin, settings []byte) {
	t.Helper()
	if err := tryConfigure(context.Background(), p, settings); err != nil {
		t.Fatalf("configure with %q: %v", settings, err)
	}
}
