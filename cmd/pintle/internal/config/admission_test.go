package config_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/pintle-dev/pintle/cmd/pintle/internal/config"
)

// Nothing is put on objects that nobody would take off.
func TestAdmissionFollowsTheControllers(t *testing.T) {
	const taint, protection = "TaintNodesByCondition", "StorageObjectInUseProtection"
	for _, tc := range []struct {
		name    string
		plugins []config.Plugin
		off     []string
	}{
		{"no controllers", nil, []string{taint, protection}},
		{"all", []config.Plugin{{Name: "workloads"}}, nil},
		{"the plugin is disabled", []config.Plugin{{Name: "workloads", Disabled: true}}, []string{taint, protection}},
		{"nobody looks after nodes", []config.Plugin{{Name: "workloads", Settings: json.RawMessage(`{"disabled":["nodelifecycle"]}`)}}, []string{taint}},
		{"nobody looks after claims", []config.Plugin{{Name: "workloads", Settings: json.RawMessage(`{"disabled":["persistentvolumeclaim-protection-controller"]}`)}}, []string{protection}},
	} {
		c := config.Default()
		c.Plugins = tc.plugins
		c.API.Admission.Disabled = []string{"PodSecurity"}
		got := c.AdmissionOptions().Disabled
		if want := append([]string{"PodSecurity"}, tc.off...); !slices.Equal(got, want) {
			t.Errorf("%s: disabled %v, want %v", tc.name, got, want)
		}
	}
}

func TestAdmissionSettings(t *testing.T) {
	for problem, change := range map[string]func(*config.Admission){
		"":                            func(a *config.Admission) { a.PodSecurity.Defaults.Enforce = "baseline" },
		"api.admission.disabled[0]: ": func(a *config.Admission) { a.Disabled = []string{"Quota"} },
		" ": func(a *config.Admission) {
			a.Disabled = []string{"MutatingAdmissionWebhook", "ValidatingAdmissionPolicy"}
		},
		"api.admission.podSecurity: ": func(a *config.Admission) { a.PodSecurity.Defaults.Warn = "lax" },
	} {
		c := config.Default()
		change(&c.API.Admission)
		if err := c.Validate(); (err == nil) != (strings.TrimSpace(problem) == "") || err != nil && !strings.Contains(err.Error(), problem) {
			t.Errorf("%v, want %q", err, problem)
		}
	}
}
