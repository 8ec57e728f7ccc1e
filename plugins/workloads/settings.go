package workloads

import (
	"fmt"
	"strings"
	"time"

	"github.com/pintle-dev/pintle/sdk/plugin"
)

// Settings of the workloads plugin.
type Settings struct {
	// RootCA is the PEM bundle published to every namespace as kube-root-ca.crt. Empty
	// means the CA with which the plugin itself verifies the API server.
	RootCA string `json:"rootCA,omitempty"`
	// Disabled names controllers that do not run.
	Disabled []string `json:"disabled,omitempty"`
	// NodeMonitorGracePeriodSeconds is how long a node may be silent before its
	// conditions turn Unknown and it is tainted unreachable.
	NodeMonitorGracePeriodSeconds int `json:"nodeMonitorGracePeriodSeconds,omitempty"`
	// NodeMonitorPeriodSeconds is how often nodes are looked at.
	NodeMonitorPeriodSeconds int `json:"nodeMonitorPeriodSeconds,omitempty"`
	// TerminatedPodGCThreshold is how many finished pods may stay before the oldest are
	// deleted; 0 keeps all.
	TerminatedPodGCThreshold int `json:"terminatedPodGCThreshold,omitempty"`
}

func settingsSchema() []byte {
	return []byte(`{
  "type": "object",
  "properties": {
    "rootCA": {
      "description": "PEM bundle published to every namespace as ConfigMap kube-root-ca.crt; by default the CA of the plugin's own connection.",
      "type": "string"
    },
    "disabled": {
      "description": "Controllers that do not run.",
      "type": "array",
      "items": {"type": "string", "enum": ["` + strings.Join(controllerNames(), `", "`) + `"]}
    },
    "nodeMonitorGracePeriodSeconds": {
      "description": "How long a node may be silent before it is unreachable, in seconds.",
      "type": "integer", "minimum": 1
    },
    "nodeMonitorPeriodSeconds": {
      "description": "How often nodes are looked at, in seconds.",
      "type": "integer", "minimum": 1
    },
    "terminatedPodGCThreshold": {
      "description": "How many finished pods may stay before the oldest are deleted; 0 keeps all.",
      "type": "integer", "minimum": 0
    }
  }
}`)
}

func defaultSettings() Settings {
	return Settings{
		NodeMonitorGracePeriodSeconds: 40,
		NodeMonitorPeriodSeconds:      5,
		TerminatedPodGCThreshold:      12500,
	}
}

func parseSettings(raw []byte) (Settings, error) {
	s := defaultSettings()
	if err := plugin.DecodeSettings(raw, &s); err != nil {
		return s, fmt.Errorf("settings of workloads: %w", err)
	}
	return s, s.validate()
}

func (s Settings) validate() error {
	known := map[string]bool{}
	for _, n := range controllerNames() {
		known[n] = true
	}
	for i, n := range s.Disabled {
		if !known[n] {
			return fmt.Errorf("settings of workloads: disabled[%d]: no controller is called %q; there are %v", i, n, controllerNames())
		}
	}
	if s.NodeMonitorGracePeriodSeconds < 1 {
		return fmt.Errorf("settings of workloads: nodeMonitorGracePeriodSeconds: must be at least 1, is %d", s.NodeMonitorGracePeriodSeconds)
	}
	if s.NodeMonitorPeriodSeconds < 1 {
		return fmt.Errorf("settings of workloads: nodeMonitorPeriodSeconds: must be at least 1, is %d", s.NodeMonitorPeriodSeconds)
	}
	if s.TerminatedPodGCThreshold < 0 {
		return fmt.Errorf("settings of workloads: terminatedPodGCThreshold: must not be negative, is %d", s.TerminatedPodGCThreshold)
	}
	return nil
}

func (s Settings) enabled(controller string) bool {
	for _, n := range s.Disabled {
		if n == controller {
			return false
		}
	}
	return true
}

func (s Settings) gracePeriod() time.Duration {
	return time.Duration(s.NodeMonitorGracePeriodSeconds) * time.Second
}

func (s Settings) monitorPeriod() time.Duration {
	return time.Duration(s.NodeMonitorPeriodSeconds) * time.Second
}
