package host

import (
	"encoding/json"
	"path/filepath"
	"slices"
	"time"

	"github.com/Masterminds/semver/v3"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	kjson "sigs.k8s.io/json"

	"github.com/pintle-dev/pintle/sdk/protocol"
)

// PluginSpec is the spec of a Plugin object. On an object that somebody applied it is a wish,
// which the hosts carry out; on one of the configuration's it is what the configuration says.
type PluginSpec struct {
	// Plugin is the plugin's name; that of the object where empty.
	Plugin string `json:"plugin,omitempty"`
	// Source is where it comes from. Without one it is one of the host's own.
	Source *PluginSource `json:"source,omitempty"`
	// Version is a constraint such as ">=1.2, <2".
	Version string `json:"version,omitempty"`
	// SHA256 of the binary.
	SHA256 string `json:"sha256,omitempty"`
	// AllowUnsigned accepts a plugin without a signature.
	AllowUnsigned bool      `json:"allowUnsigned,omitempty"`
	Placement     Placement `json:"placement,omitempty"`
	// NodeScoped plugins run on each node.
	NodeScoped bool              `json:"nodeScoped,omitempty"`
	Args       []string          `json:"args,omitempty"`
	Env        map[string]string `json:"env,omitempty"`
	Settings   json.RawMessage   `json:"settings,omitempty"`
	// SettingsFrom are sources of settings that not everybody may read.
	SettingsFrom []SettingsSource   `json:"settingsFrom,omitempty"`
	Permissions  *PluginPermissions `json:"permissions,omitempty"`
	Limits       *PluginLimits      `json:"limits,omitempty"`
	// Network lets it reach the machine's network.
	Network bool `json:"network,omitempty"`
	// Files and Privileges of the machine that it is given.
	Files       []PluginFile       `json:"files,omitempty"`
	Privileges  []PluginPrivilege  `json:"privileges,omitempty"`
	Replacement *PluginReplacement `json:"replacement,omitempty"`
	Admission   *PluginAdmission   `json:"admission,omitempty"`
	Disabled    bool               `json:"disabled,omitempty"`
	// RestartedAt restarts the plugin when it is set to another time.
	RestartedAt *metav1.Time `json:"restartedAt,omitempty"`
	// Node is the host's to set.
	Node string `json:"node,omitempty"`
}

// PluginSource is where a plugin comes from; one of its fields is set.
type PluginSource struct {
	Path      string `json:"path,omitempty"`
	Directory string `json:"directory,omitempty"`
	OCI       string `json:"oci,omitempty"`
}

// PluginPermissions are what a plugin is granted of what it asks for.
type PluginPermissions struct {
	// Grant is Requested (all it asks for) or Listed (what Rules cover), the default.
	Grant string              `json:"grant,omitempty"`
	Rules []rbacv1.PolicyRule `json:"rules,omitempty"`
	// Uses are points of other plugins that it may call, where it asks for them.
	Uses []protocol.Point `json:"uses,omitempty"`
}

// The kinds of grants.
const (
	GrantRequested = "Requested"
	GrantListed    = "Listed"
)

// PluginLimits are limits of all processes of a plugin together.
type PluginLimits struct {
	Memory    *resource.Quantity `json:"memory,omitempty"`
	CPU       *resource.Quantity `json:"cpu,omitempty"`
	Processes *int64             `json:"processes,omitempty"`
	Disk      *resource.Quantity `json:"disk,omitempty"`
}

// PluginReplacement is how a new version takes the place of the old.
type PluginReplacement struct {
	Strategy    ReplacementStrategy `json:"strategy,omitempty"`
	WatchPeriod *metav1.Duration    `json:"watchPeriod,omitempty"`
}

// PluginAdmission overrides what an admission plugin declares of itself.
type PluginAdmission struct {
	FailurePolicy    string   `json:"failurePolicy,omitempty"`
	TimeoutSeconds   *int64   `json:"timeoutSeconds,omitempty"`
	ExemptNamespaces []string `json:"exemptNamespaces,omitempty"`
}

// ParseSpec reads the spec of a Plugin object with the given name, strictly: fields that
// are not known are errors.
func ParseSpec(name string, tree map[string]any) (PluginSpec, field.ErrorList) {
	var s PluginSpec
	root := field.NewPath("spec")
	raw, err := json.Marshal(tree)
	if err != nil {
		return s, field.ErrorList{field.Invalid(root, "", err.Error())}
	}
	strict, err := kjson.UnmarshalStrict(raw, &s)
	if err != nil {
		return s, field.ErrorList{field.Invalid(root, "", err.Error())}
	}
	var errs field.ErrorList
	for _, e := range strict {
		errs = append(errs, field.Invalid(root, "", e.Error()))
	}
	if s.Plugin == "" {
		s.Plugin = name
	}
	return s, append(errs, s.Validate(root)...)
}

// Validate says what is wrong with a spec that stands at a path.
func (s *PluginSpec) Validate(at *field.Path) field.ErrorList {
	var errs field.ErrorList
	for _, msg := range validation.IsDNS1123Label(s.Plugin) {
		errs = append(errs, field.Invalid(at.Child("plugin"), s.Plugin, msg))
	}
	errs = append(errs, s.validateSource(at)...)
	errs = append(errs, oneOf(at.Child("placement"), s.Placement, "", Process, Builtin)...)
	if s.Placement == Builtin && s.Source != nil {
		errs = append(errs, field.Invalid(at.Child("placement"), s.Placement, "only the host's own plugins can be linked in; use process"))
	}
	errs = append(errs, s.validateSettings(at)...)
	for name := range s.Env {
		for _, msg := range validation.IsEnvVarName(name) {
			errs = append(errs, field.Invalid(at.Child("env").Key(name), name, msg))
		}
	}
	if p := s.Permissions; p != nil {
		p.validate(at.Child("permissions"), &errs)
		errs = append(errs, p.validateUses(at.Child("permissions", "uses"))...)
	}
	if l := s.Limits; l != nil {
		l.validate(at.Child("limits"), &errs)
	}
	errs = append(errs, s.validateMachine(at)...)
	if r := s.Replacement; r != nil {
		errs = append(errs, oneOf(at.Child("replacement", "strategy"), r.Strategy, "", HandOver, RestartFirst)...)
		if r.WatchPeriod != nil && r.WatchPeriod.Duration <= 0 {
			errs = append(errs, field.Invalid(at.Child("replacement", "watchPeriod"), r.WatchPeriod.Duration.String(), "must be more than nothing"))
		}
	}
	if a := s.Admission; a != nil {
		errs = append(errs, oneOf(at.Child("admission", "failurePolicy"), a.FailurePolicy, "", "Fail", "Ignore")...)
		if t := a.TimeoutSeconds; t != nil && (*t < 1 || *t > 30) {
			errs = append(errs, field.Invalid(at.Child("admission", "timeoutSeconds"), *t, "must be between 1 and 30"))
		}
	}
	return errs
}

func (s *PluginSpec) validateSource(at *field.Path) field.ErrorList {
	var errs field.ErrorList
	if src := s.Source; src != nil {
		given := slices.DeleteFunc([]string{src.Path, src.Directory, src.OCI}, func(v string) bool { return v == "" })
		if len(given) != 1 {
			errs = append(errs, field.Invalid(at.Child("source"), len(given), "exactly one of path, directory and oci is needed"))
		}
		for name, path := range map[string]string{"path": src.Path, "directory": src.Directory} {
			if path != "" && !filepath.IsAbs(path) {
				errs = append(errs, field.Invalid(at.Child("source", name), path, "must be an absolute path on the host's machine"))
			}
		}
		if src.Path != "" && s.SHA256 == "" {
			errs = append(errs, field.Required(at.Child("sha256"), "the checksum of the binary (sha256sum "+src.Path+")"))
		}
	} else {
		for name, set := range map[string]bool{"version": s.Version != "", "sha256": s.SHA256 != "", "allowUnsigned": s.AllowUnsigned} {
			if set {
				errs = append(errs, field.Forbidden(at.Child(name), "is about a source, and there is none: the host's own plugins are part of it"))
			}
		}
	}
	if s.Version != "" {
		if _, err := semver.NewConstraint(s.Version); err != nil {
			errs = append(errs, field.Invalid(at.Child("version"), s.Version, "must be a constraint such as \">=1.2, <2\""))
		}
	}
	if s.SHA256 != "" && !isSHA256(s.SHA256) {
		errs = append(errs, field.Invalid(at.Child("sha256"), s.SHA256, "must have 64 hexadecimal digits"))
	}
	return errs
}

func (p *PluginPermissions) validate(at *field.Path, errs *field.ErrorList) {
	*errs = append(*errs, oneOf(at.Child("grant"), p.Grant, "", GrantRequested, GrantListed)...)
	if p.Grant == GrantRequested && len(p.Rules) > 0 {
		*errs = append(*errs, field.Forbidden(at.Child("rules"), "with grant Requested everything that is asked for is granted: remove the rules, or set grant to Listed"))
	}
	for i, r := range p.Rules {
		if len(r.Verbs) == 0 || len(r.Resources)+len(r.NonResourceURLs) == 0 {
			*errs = append(*errs, field.Invalid(at.Child("rules").Index(i), ruleText(r), "allows nothing: verbs, and resources or nonResourceURLs, are needed"))
		}
	}
}

func (l *PluginLimits) validate(at *field.Path, errs *field.ErrorList) {
	for name, q := range map[string]*resource.Quantity{"memory": l.Memory, "cpu": l.CPU, "disk": l.Disk} {
		if q != nil && q.Sign() <= 0 {
			*errs = append(*errs, field.Invalid(at.Child(name), q.String(), "must be more than nothing"))
		}
	}
	if l.Processes != nil && *l.Processes < 1 {
		*errs = append(*errs, field.Invalid(at.Child("processes"), *l.Processes, "must be at least 1"))
	}
}

func oneOf[T ~string](at *field.Path, v T, allowed ...T) field.ErrorList {
	if slices.Contains(allowed, v) {
		return nil
	}
	return field.ErrorList{field.NotSupported(at, v, allowed[1:])}
}

// Entry makes a catalogue entry of a spec. own gives the entries of the host's own plugins.
func (s *PluginSpec) Entry(own func(name string, p Placement) (Spec, error)) (Spec, error) {
	e := Spec{Name: s.Plugin}
	if s.Source == nil {
		var err error
		if e, err = own(s.Plugin, s.Placement); err != nil {
			return e, err
		}
	} else {
		e.Source = Source{
			Path: s.Source.Path, Directory: s.Source.Directory, OCI: s.Source.OCI,
			Version: s.Version, SHA256: s.SHA256, AllowUnsigned: s.AllowUnsigned,
		}
	}
	e.Placement, e.NodeScoped = s.Placement, s.NodeScoped || e.NodeScoped
	if e.Placement == "" {
		e.Placement = Process
	}
	e.Args, e.Env, e.Settings = s.Args, s.Env, s.Settings
	e.Network, e.Disabled = s.Network, s.Disabled
	e.Files, e.Privileges = s.Files, s.Privileges
	if p := s.Permissions; p != nil {
		e.Grant, e.Permissions = p.Grant == GrantRequested, p.Rules
		if !e.FirstParty() {
			e.Uses = p.Uses
		}
	}
	if l := s.Limits; l != nil {
		if l.Memory != nil {
			e.Limits.MemoryBytes = l.Memory.Value()
		}
		if l.CPU != nil {
			e.Limits.MilliCPU = l.CPU.MilliValue()
		}
		if l.Processes != nil {
			e.Limits.Processes = *l.Processes
		}
		if l.Disk != nil {
			e.Limits.DiskBytes = l.Disk.Value()
		}
	}
	if r := s.Replacement; r != nil {
		e.Replacement.Strategy = r.Strategy
		if r.WatchPeriod != nil {
			e.Replacement.WatchPeriod = r.WatchPeriod.Duration
		}
	}
	if a := s.Admission; a != nil {
		e.Admission = AdmissionPolicy{FailurePolicy: a.FailurePolicy, ExemptNamespaces: a.ExemptNamespaces}
		if a.TimeoutSeconds != nil {
			e.Admission.Timeout = time.Duration(*a.TimeoutSeconds) * time.Second
		}
	}
	return e, nil
}
