package scheduler

import (
	"errors"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pintle-dev/pintle/plugins/scheduler/extend"
	"github.com/pintle-dev/pintle/sdk/plugin"
)

// DefaultSchedulerName is the name in spec.schedulerName that is served by default.
const DefaultSchedulerName = "default-scheduler"

// Settings of the scheduler plugin.
type Settings struct {
	// SchedulerNames are the values of spec.schedulerName that are served.
	SchedulerNames []string `json:"schedulerNames,omitempty"`
	// PercentageOfNodesToScore bounds how many of the feasible nodes are scored for one
	// pod; 0 adapts to the size of the cluster, 100 scores all of them.
	PercentageOfNodesToScore int `json:"percentageOfNodesToScore,omitempty"`
	// BindConcurrency is how many bindings may be in flight. client-go keeps 25 idle
	// connections to a host; more would be opened anew for each request over HTTP/1.1.
	BindConcurrency int `json:"bindConcurrency,omitempty"`
	// PodInitialBackoffSeconds and PodMaxBackoffSeconds bound the exponential back-off of
	// a pod that could not be scheduled.
	PodInitialBackoffSeconds int `json:"podInitialBackoffSeconds,omitempty"`
	PodMaxBackoffSeconds     int `json:"podMaxBackoffSeconds,omitempty"`
	// Extensions are the plugins with a part in scheduling. Those that run and are not named
	// take part with the defaults.
	Extensions []extend.Setting `json:"extensions,omitempty"`
	// ExtensionExemptNamespaces are the namespaces whose pods concern no such plugin, so that
	// what the cluster itself needs is scheduled without them.
	ExtensionExemptNamespaces []string `json:"extensionExemptNamespaces,omitempty"`
}

// settingsSchema is the structural schema of Settings.
const settingsSchema = `{
  "type": "object",
  "properties": {
    "schedulerNames": {
      "description": "Values of spec.schedulerName that this scheduler serves.",
      "type": "array", "minItems": 1, "items": {"type": "string", "minLength": 1}
    },
    "percentageOfNodesToScore": {
      "description": "How many percent of the nodes are looked at for one pod; 0 adapts to the size of the cluster.",
      "type": "integer", "minimum": 0, "maximum": 100
    },
    "bindConcurrency": {
      "description": "How many bindings may be in flight.",
      "type": "integer", "minimum": 1, "maximum": 1024
    },
    "podInitialBackoffSeconds": {
      "description": "First back-off of a pod that could not be scheduled, in seconds.",
      "type": "integer", "minimum": 1
    },
    "podMaxBackoffSeconds": {
      "description": "Longest back-off of a pod that could not be scheduled, in seconds.",
      "type": "integer", "minimum": 1
    },
    "extensions": {
      "description": "Plugins with a part in scheduling. Those that run and are not named take part with the defaults.",
      "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["plugin"],
      "items": {
        "type": "object", "required": ["plugin"],
        "properties": {
          "plugin": {"description": "Name of the plugin.", "type": "string", "minLength": 1},
          "weight": {
            "description": "What its scores are multiplied by; 1 where nothing is said.",
            "type": "integer", "minimum": 0, "maximum": 100
          },
          "failurePolicy": {
            "description": "Fail makes the pods that concern it wait while it can't be asked, Ignore schedules them without it.",
            "type": "string", "enum": ["Fail", "Ignore"]
          },
          "timeoutSeconds": {
            "description": "How long an answer may take; 1 where nothing is said.",
            "type": "integer", "minimum": 1, "maximum": 30
          },
          "disabled": {"description": "It is not asked.", "type": "boolean"}
        }
      }
    },
    "extensionExemptNamespaces": {
      "description": "Namespaces whose pods concern no such plugin.",
      "type": "array", "items": {"type": "string"}
    }
  }
}`

func defaultSettings() Settings {
	return Settings{
		SchedulerNames:           []string{DefaultSchedulerName},
		BindConcurrency:          20,
		PodInitialBackoffSeconds: 1,
		PodMaxBackoffSeconds:     10,

		ExtensionExemptNamespaces: []string{metav1.NamespaceSystem},
	}
}

func parseSettings(raw []byte) (Settings, error) {
	s := defaultSettings()
	if err := plugin.DecodeSettings(raw, &s); err != nil {
		return s, fmt.Errorf("settings of the scheduler: %w", err)
	}
	return s, s.validate()
}

func (s Settings) validate() error {
	if len(s.SchedulerNames) == 0 {
		return errors.New("settings of the scheduler: schedulerNames: must name at least one scheduler")
	}
	for i, n := range s.SchedulerNames {
		if n == "" {
			return fmt.Errorf("settings of the scheduler: schedulerNames[%d]: must not be empty", i)
		}
	}
	if s.PercentageOfNodesToScore < 0 || s.PercentageOfNodesToScore > 100 {
		return fmt.Errorf("settings of the scheduler: percentageOfNodesToScore: must be 0 to 100, is %d", s.PercentageOfNodesToScore)
	}
	if s.BindConcurrency < 1 || s.BindConcurrency > 1024 {
		return fmt.Errorf("settings of the scheduler: bindConcurrency: must be 1 to 1024, is %d", s.BindConcurrency)
	}
	if s.PodInitialBackoffSeconds < 1 {
		return fmt.Errorf("settings of the scheduler: podInitialBackoffSeconds: must be at least 1, is %d", s.PodInitialBackoffSeconds)
	}
	if s.PodMaxBackoffSeconds < s.PodInitialBackoffSeconds {
		return fmt.Errorf("settings of the scheduler: podMaxBackoffSeconds: must be at least podInitialBackoffSeconds (%d), is %d",
			s.PodInitialBackoffSeconds, s.PodMaxBackoffSeconds)
	}
	if err := s.extend().Validate(); err != nil {
		return fmt.Errorf("settings of the scheduler: %w", err)
	}
	return nil
}

func (s Settings) extend() extend.Settings {
	return extend.Settings{Extensions: s.Extensions, ExemptNamespaces: s.ExtensionExemptNamespaces}
}

func (s Settings) initialBackoff() time.Duration {
	return time.Duration(s.PodInitialBackoffSeconds) * time.Second
}

func (s Settings) maxBackoff() time.Duration {
	return time.Duration(s.PodMaxBackoffSeconds) * time.Second
}
