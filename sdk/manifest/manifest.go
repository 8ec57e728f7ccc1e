// Package manifest is what a plugin says of itself before it is run: plugin.yaml, which lies
// beside its binary in a directory or an OCI artifact. An operator reads in it what will be
// asked for; a host holds the running plugin to it.
package manifest

import (
	"fmt"
	"regexp"
	"slices"

	"github.com/Masterminds/semver/v3"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/yaml"
)

// The type of a manifest.
const (
	APIVersion = "core.pintle.dev/v1"
	Kind       = "PluginManifest"
	// FileName is its name in a directory or an artifact.
	FileName = "plugin.yaml"
)

// MaxBytes is the size of the largest manifest that is read.
const MaxBytes = 1 << 20

// Manifest is a plugin before it is run.
type Manifest struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	// Name is a DNS label, equal to the Info().Name of the running plugin.
	Name string `json:"name"`
	// Version is a semantic version without "v", equal to Info().Version.
	Version     string `json:"version"`
	Description string `json:"description,omitempty"`
	// Protocol is the version of the base protocol that the plugin needs.
	Protocol int `json:"protocol"`
	// Points are the extension points that it offers, such as "controller".
	Points []string `json:"points"`
	// Types are the resource types that it defines, as PLURAL.GROUP. It may define no others.
	Types []string `json:"types,omitempty"`
	// Permissions that it asks for. It may ask for no others when it runs.
	Permissions []rbacv1.PolicyRule `json:"permissions,omitempty"`
	// Uses are the extension points of other plugins that it wants to call, through sdk/peers,
	// such as "cloud". It may once that was granted, as permissions are.
	Uses []string `json:"uses,omitempty"`
	// Requires names plugins that have to run before this one.
	Requires []Requirement `json:"requires,omitempty"`
	// Resources that it needs at most.
	Resources Resources `json:"resources,omitzero"`
	// Network says that it needs the machine's network. Without it, the API server, through
	// its unix socket, is all that it reaches.
	Network bool `json:"network,omitempty"`
	// Files of the machine that it needs to see. It gets those that its entry gives it.
	Files []File `json:"files,omitempty"`
	// Privileges that it needs on a node. It gets those that its entry gives it.
	Privileges []Privilege `json:"privileges,omitempty"`
	// Binary is the file that is run, relative to the manifest; "plugin" where empty.
	Binary string `json:"binary,omitempty"`
}

// Requirement is another plugin that has to run.
type Requirement struct {
	Plugin string `json:"plugin"`
	// Version is a constraint such as ">=1.2, <2"; empty for any.
	Version string `json:"version,omitempty"`
}

// Resources are limits. What is not set is the host's default.
type Resources struct {
	// Memory of all its processes, such as "64Mi".
	Memory *resource.Quantity `json:"memory,omitempty"`
	// CPU in cores, such as "500m".
	CPU *resource.Quantity `json:"cpu,omitempty"`
	// Processes and threads that it may have.
	Processes *int64 `json:"processes,omitempty"`
	// Disk is what it may keep in its private directory, such as "1Gi".
	Disk *resource.Quantity `json:"disk,omitempty"`
}

// Parse reads a manifest. It is strict: unknown and repeated fields are errors. All that is
// wrong is said at once.
func Parse(b []byte) (*Manifest, error) {
	if len(b) > MaxBytes {
		return nil, fmt.Errorf("%s has %d bytes, at most %d are read", FileName, len(b), MaxBytes)
	}
	m := &Manifest{}
	if err := yaml.UnmarshalStrict(b, m); err != nil {
		return nil, fmt.Errorf("%s: %w", FileName, err)
	}
	if errs := m.Validate(); len(errs) > 0 {
		return nil, fmt.Errorf("%s: %w", FileName, errs.ToAggregate())
	}
	return m, nil
}

var typeName = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?\.[a-z0-9]([-a-z0-9.]*[a-z0-9])?$`)

// Validate says what is wrong, by field.
func (m *Manifest) Validate() field.ErrorList {
	var errs field.ErrorList
	if m.APIVersion != APIVersion {
		errs = append(errs, field.NotSupported(field.NewPath("apiVersion"), m.APIVersion, []string{APIVersion}))
	}
	if m.Kind != Kind {
		errs = append(errs, field.NotSupported(field.NewPath("kind"), m.Kind, []string{Kind}))
	}
	for _, msg := range validation.IsDNS1123Label(m.Name) {
		errs = append(errs, field.Invalid(field.NewPath("name"), m.Name, msg))
	}
	if _, err := semver.StrictNewVersion(m.Version); err != nil {
		errs = append(errs, field.Invalid(field.NewPath("version"), m.Version, "must be a semantic version such as 1.2.3: "+err.Error()))
	}
	if m.Protocol < 1 {
		errs = append(errs, field.Invalid(field.NewPath("protocol"), m.Protocol, "must be the version of the base protocol, at least 1"))
	}
	if len(m.Points) == 0 {
		errs = append(errs, field.Required(field.NewPath("points"), "a plugin offers at least one extension point"))
	}
	for i, t := range m.Types {
		if !typeName.MatchString(t) {
			errs = append(errs, field.Invalid(field.NewPath("types").Index(i), t, "must be PLURAL.GROUP, such as widgets.example.dev"))
		}
	}
	for i, r := range m.Permissions {
		if len(r.Verbs) == 0 || len(r.Resources)+len(r.NonResourceURLs) == 0 {
			errs = append(errs, field.Invalid(field.NewPath("permissions").Index(i), r, "allows nothing: verbs, and resources or nonResourceURLs, are needed"))
		}
	}
	for i, p := range m.Uses {
		for _, msg := range validation.IsDNS1123Label(p) {
			errs = append(errs, field.Invalid(field.NewPath("uses").Index(i), p, msg))
		}
		if slices.Contains(m.Uses[:i], p) {
			errs = append(errs, field.Duplicate(field.NewPath("uses").Index(i), p))
		}
	}
	errs = append(errs, m.validateRequires()...)
	if r := m.Resources; r.Memory != nil && r.Memory.Sign() <= 0 {
		errs = append(errs, field.Invalid(field.NewPath("resources", "memory"), r.Memory.String(), "must be more than nothing"))
	}
	if r := m.Resources; r.CPU != nil && r.CPU.Sign() <= 0 {
		errs = append(errs, field.Invalid(field.NewPath("resources", "cpu"), r.CPU.String(), "must be more than nothing"))
	}
	if r := m.Resources; r.Disk != nil && r.Disk.Sign() <= 0 {
		errs = append(errs, field.Invalid(field.NewPath("resources", "disk"), r.Disk.String(), "must be more than nothing"))
	}
	errs = append(errs, ValidateFiles(m.Files, field.NewPath("files"))...)
	errs = append(errs, ValidatePrivileges(m.Privileges, field.NewPath("privileges"))...)
	if r := m.Resources; r.Processes != nil && *r.Processes < 1 {
		errs = append(errs, field.Invalid(field.NewPath("resources", "processes"), *r.Processes, "must be at least 1"))
	}
	if m.Binary != "" && !plainFile.MatchString(m.Binary) {
		errs = append(errs, field.Invalid(field.NewPath("binary"), m.Binary, "must be a file name beside the manifest"))
	}
	return errs
}

var plainFile = regexp.MustCompile(`^[A-Za-z0-9_][-A-Za-z0-9_.]*$`)

func (m *Manifest) validateRequires() field.ErrorList {
	var errs field.ErrorList
	var seen []string
	for i, r := range m.Requires {
		path := field.NewPath("requires").Index(i)
		for _, msg := range validation.IsDNS1123Label(r.Plugin) {
			errs = append(errs, field.Invalid(path.Child("plugin"), r.Plugin, msg))
		}
		if r.Plugin == m.Name {
			errs = append(errs, field.Invalid(path.Child("plugin"), r.Plugin, "a plugin can't require itself"))
		}
		if slices.Contains(seen, r.Plugin) {
			errs = append(errs, field.Duplicate(path.Child("plugin"), r.Plugin))
		}
		seen = append(seen, r.Plugin)
		if r.Version == "" {
			continue
		}
		if _, err := semver.NewConstraint(r.Version); err != nil {
			errs = append(errs, field.Invalid(path.Child("version"), r.Version, "must be a constraint such as \">=1.2, <2\": "+err.Error()))
		}
	}
	return errs
}
