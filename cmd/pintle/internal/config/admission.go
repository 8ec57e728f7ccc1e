package config

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/pintle-dev/pintle/plugins/kubeapi/admission"
)

// Admission configures the admission plugins of the Kubernetes kinds.
type Admission struct {
	// Disabled names plugins that do nothing, as kube-apiserver's
	// --disable-admission-plugins does.
	Disabled []string `json:"disabled"`
	// PodSecurity are the levels of namespaces without labels for them, and who is exempt.
	PodSecurity PodSecurity `json:"podSecurity"`
}

// Names of the admission plugins that call what objects in the cluster configure.
const (
	MutatingPolicies   = "MutatingAdmissionPolicy"
	ValidatingPolicies = "ValidatingAdmissionPolicy"
	MutatingWebhooks   = "MutatingAdmissionWebhook"
	ValidatingWebhooks = "ValidatingAdmissionWebhook"
)

// Disables reports whether a plugin is to do nothing.
func (a *Admission) Disables(plugin string) bool { return slices.Contains(a.Disabled, plugin) }

// PodSecurity has the names of upstream's PodSecurityConfiguration.
type PodSecurity struct {
	Defaults   PodSecurityDefaults   `json:"defaults"`
	Exemptions PodSecurityExemptions `json:"exemptions"`
}

// PodSecurityDefaults are levels (privileged, baseline, restricted; empty: privileged) and the
// versions of the standards (latest or v1.N; empty: latest).
type PodSecurityDefaults struct {
	Enforce        string `json:"enforce"`
	EnforceVersion string `json:"enforceVersion"`
	Audit          string `json:"audit"`
	AuditVersion   string `json:"auditVersion"`
	Warn           string `json:"warn"`
	WarnVersion    string `json:"warnVersion"`
}

// PodSecurityExemptions are whose pods are held to no level.
type PodSecurityExemptions struct {
	Usernames      []string `json:"usernames"`
	Namespaces     []string `json:"namespaces"`
	RuntimeClasses []string `json:"runtimeClasses"`
}

// controls reports whether a controller of the plugin "workloads" runs.
func (c *Config) controls(controller string) bool {
	for _, p := range c.Plugins {
		if p.Name != "workloads" || p.Disabled {
			continue
		}
		var settings struct {
			Disabled []string `json:"disabled"`
		}
		// Settings that can't be read are refused where the plugin gets them.
		_ = json.Unmarshal(p.Settings, &settings)
		return !slices.Contains(settings.Disabled, controller)
	}
	return false
}

// AdmissionOptions are the settings for the admission plugins. Without the controllers that
// take off the taint of new nodes and the finalizers of volumes, neither is put on: nothing
// would ever be scheduled or deleted.
func (c *Config) AdmissionOptions() admission.Options {
	a := c.API.Admission
	o := admission.Options{
		Disabled:  slices.Clone(a.Disabled),
		Elsewhere: []string{MutatingPolicies, ValidatingPolicies, MutatingWebhooks, ValidatingWebhooks},
		PodSecurity: admission.PodSecurity{
			Enforce: a.PodSecurity.Defaults.Enforce, EnforceVersion: a.PodSecurity.Defaults.EnforceVersion,
			Audit: a.PodSecurity.Defaults.Audit, AuditVersion: a.PodSecurity.Defaults.AuditVersion,
			Warn: a.PodSecurity.Defaults.Warn, WarnVersion: a.PodSecurity.Defaults.WarnVersion,
			ExemptUsers: a.PodSecurity.Exemptions.Usernames, ExemptNamespaces: a.PodSecurity.Exemptions.Namespaces,
			ExemptRuntimeClasses: a.PodSecurity.Exemptions.RuntimeClasses,
		},
	}
	if !c.controls("nodelifecycle") {
		o.Disabled = append(o.Disabled, admission.TaintNodes)
	}
	if !c.controls("persistentvolumeclaim-protection-controller") || !c.controls("persistentvolume-protection-controller") {
		o.Disabled = append(o.Disabled, admission.ObjectInUse)
	}
	return o
}

func (c *Config) validateAdmission() error {
	if _, err := admission.New(c.AdmissionOptions()); err != nil {
		return fmt.Errorf("api.admission.%w", err)
	}
	return nil
}
