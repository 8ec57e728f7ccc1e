package extend

import (
	"fmt"
	"time"
)

// FailurePolicy says what becomes of pods that concern a plugin that can't be asked.
type FailurePolicy string

// The failure policies.
const (
	// Fail makes the pods wait.
	Fail FailurePolicy = "Fail"
	// Ignore schedules them without it.
	Ignore FailurePolicy = "Ignore"
)

const (
	defaultTimeout = time.Second
	maxTimeout     = 30 * time.Second
	maxWeight      = 100
)

// Setting is what the operator says of one plugin with a part in scheduling.
type Setting struct {
	Plugin string `json:"plugin"`
	// Weight multiplies its scores; 1 where nothing is said.
	Weight *int64 `json:"weight,omitempty"`
	// FailurePolicy is Fail where nothing is said.
	FailurePolicy FailurePolicy `json:"failurePolicy,omitempty"`
	// TimeoutSeconds is how long an answer may take; 1 where nothing is said. Permits have
	// their own, which the plugin gives.
	TimeoutSeconds int64 `json:"timeoutSeconds,omitempty"`
	// Disabled plugins are not asked.
	Disabled bool `json:"disabled,omitempty"`
}

// Settings of all of them.
type Settings struct {
	// Extensions that are not listed take part with the defaults.
	Extensions []Setting
	// ExemptNamespaces are those whose pods concern no plugin.
	ExemptNamespaces []string
}

// Validate says what is wrong, by field.
func (s Settings) Validate() error {
	seen := map[string]bool{}
	for i, e := range s.Extensions {
		fail := func(field, format string, args ...any) error {
			return fmt.Errorf("extensions[%d].%s: %s", i, field, fmt.Sprintf(format, args...))
		}
		switch {
		case e.Plugin == "":
			return fail("plugin", "must name a plugin")
		case seen[e.Plugin]:
			return fail("plugin", "%q is named twice", e.Plugin)
		case e.Weight != nil && (*e.Weight < 0 || *e.Weight > maxWeight):
			return fail("weight", "must be 0 to %d, is %d", maxWeight, *e.Weight)
		case e.FailurePolicy != "" && e.FailurePolicy != Fail && e.FailurePolicy != Ignore:
			return fail("failurePolicy", "must be %s or %s, is %q", Fail, Ignore, e.FailurePolicy)
		case e.TimeoutSeconds < 0 || e.TimeoutSeconds > int64(maxTimeout/time.Second):
			return fail("timeoutSeconds", "must be 1 to %d, is %d", maxTimeout/time.Second, e.TimeoutSeconds)
		}
		seen[e.Plugin] = true
	}
	return nil
}

// setting returns what is said of a plugin, completed.
func (s Settings) setting(plugin string) Setting {
	out := Setting{Plugin: plugin}
	for _, e := range s.Extensions {
		if e.Plugin == plugin {
			out = e
		}
	}
	if out.Weight == nil {
		one := int64(1)
		out.Weight = &one
	}
	if out.FailurePolicy == "" {
		out.FailurePolicy = Fail
	}
	if out.TimeoutSeconds == 0 {
		out.TimeoutSeconds = int64(defaultTimeout / time.Second)
	}
	return out
}
