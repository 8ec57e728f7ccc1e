package podspec

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/check"
	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/tree"
)

func (v *validator) lifecycleAndProbes(c map[string]any, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	if l := tree.Map(c, "lifecycle"); l != nil {
		for _, key := range [...]string{"postStart", "preStop"} {
			if h := tree.Map(l, key); h != nil {
				errs = append(errs, v.handler(h, at.Child("lifecycle", key))...)
			}
		}
	}
	for _, key := range [...]string{"livenessProbe", "readinessProbe", "startupProbe"} {
		p := tree.Map(c, key)
		if p == nil {
			continue
		}
		path := at.Child(key)
		errs = append(errs, v.probe(p, path)...)
		if key == "readinessProbe" {
			if t, ok := tree.Int(p, "terminationGracePeriodSeconds"); ok {
				errs = append(errs, field.Invalid(path.Child("terminationGracePeriodSeconds"), t, "must not be set for readinessProbes"))
			}
		} else if n := tree.Int0(p, "successThreshold"); n != 1 {
			errs = append(errs, field.Invalid(path.Child("successThreshold"), n, "must be 1"))
		}
	}
	return errs
}

func (v *validator) probe(p map[string]any, path *field.Path) field.ErrorList {
	errs := v.handler(p, path)
	errs = append(errs, check.NonNegative(p, path,
		"initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold")...)
	if t, ok := tree.Int(p, "terminationGracePeriodSeconds"); ok && t <= 0 {
		errs = append(errs, field.Invalid(path.Child("terminationGracePeriodSeconds"), t, "must be greater than 0"))
	}
	return errs
}

// handler checks the action of a probe or of a lifecycle hook: there must be exactly one.
func (v *validator) handler(h map[string]any, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	actions := 0
	for _, key := range [...]string{"exec", "httpGet", "tcpSocket", "grpc", "sleep"} {
		a := tree.Map(h, key)
		if a == nil {
			continue
		}
		if actions++; actions > 1 {
			errs = append(errs, field.Forbidden(path.Child(key), "may not specify more than 1 handler type"))
			continue
		}
		errs = append(errs, v.action(key, a, path.Child(key))...)
	}
	if actions == 0 {
		errs = append(errs, field.Required(path, "must specify a handler type"))
	}
	return errs
}

func (v *validator) action(key string, a map[string]any, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	switch key {
	case "exec":
		if len(tree.List(a, "command")) == 0 {
			errs = append(errs, field.Required(path.Child("command"), ""))
		}
	case "httpGet":
		errs = append(errs, check.Required(a, path, "path")...)
		errs = append(errs, check.PortOrName(a, path, "port")...)
		for _, e := range tree.List(a, "httpHeaders") {
			name := tree.Str(tree.Object(e), "name")
			errs = append(errs, check.Invalid(path.Child("httpHeaders"), name, validation.IsHTTPHeaderName(name))...)
		}
	case "tcpSocket":
		errs = append(errs, check.PortOrName(a, path, "port")...)
	case "grpc":
		errs = append(errs, check.PortOrName(a, path, "port")...)
	case "sleep":
		grace := tree.Int0(v.spec, "terminationGracePeriodSeconds")
		if s := tree.Int0(a, "seconds"); s < 0 || s > grace {
			errs = append(errs, field.Invalid(path, s, fmt.Sprintf(
				"must be non-negative and less than terminationGracePeriodSeconds (%d)", grace)))
		}
	}
	return errs
}

// podSecurity checks the security context of the pod.
func (v *validator) podSecurity(path *field.Path) field.ErrorList {
	s := tree.Map(v.spec, "securityContext")
	var errs field.ErrorList
	if tree.Bool(v.spec, "shareProcessNamespace") && tree.Bool(v.spec, "hostPID") {
		errs = append(errs, field.Invalid(path.Child("shareProcessNamespace"), true, "ShareProcessNamespace and HostPID cannot both be enabled"))
	}
	if len(s) == 0 {
		return errs
	}
	errs = append(errs, ids(s, path, "fsGroup", "runAsGroup")...)
	for i, g := range tree.List(s, "supplementalGroups") {
		if id, ok := g.(int64); ok {
			errs = append(errs, check.Invalid(path.Child("supplementalGroups").Index(i), id, validation.IsValidGroupID(id))...)
		}
	}
	errs = append(errs, v.sysctls(s, path.Child("sysctls"))...)
	return append(errs, profiles(s, path)...)
}

// security checks the security context of a container.
func (v *validator) security(s map[string]any, path *field.Path) field.ErrorList {
	errs := ids(s, path, "runAsGroup")
	if tree.Str(s, "procMount") == "Unmasked" {
		if users, ok := v.spec["hostUsers"].(bool); !ok || users {
			errs = append(errs, field.Invalid(path.Child("procMount"), "Unmasked", "`hostUsers` must be false to use `Unmasked`"))
		}
	}
	errs = append(errs, profiles(s, path)...)
	if escalation, ok := s["allowPrivilegeEscalation"].(bool); ok && !escalation {
		if tree.Bool(s, "privileged") {
			errs = append(errs, field.Invalid(path, s, "cannot set `allowPrivilegeEscalation` to false and `privileged` to true"))
		}
		for _, c := range tree.Strings(tree.Map(s, "capabilities"), "add") {
			if c == "CAP_SYS_ADMIN" {
				errs = append(errs, field.Invalid(path, s, "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN"))
			}
		}
	}
	return errs
}

func ids(s map[string]any, path *field.Path, groups ...string) field.ErrorList {
	var errs field.ErrorList
	if id, ok := tree.Int(s, "runAsUser"); ok {
		errs = append(errs, check.Invalid(path.Child("runAsUser"), id, validation.IsValidUserID(id))...)
	}
	for _, key := range groups {
		if id, ok := tree.Int(s, key); ok {
			errs = append(errs, check.Invalid(path.Child(key), id, validation.IsValidGroupID(id))...)
		}
	}
	return errs
}

// profiles checks seccomp and AppArmor profiles, which have the same shape.
func profiles(s map[string]any, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for _, k := range [...]struct{ key, name string }{{"seccompProfile", "seccomp"}, {"appArmorProfile", "AppArmor"}} {
		p := tree.Map(s, k.key)
		if p == nil {
			continue
		}
		at := path.Child(k.key)
		file, hasFile := p["localhostProfile"].(string)
		switch typ := tree.Str(p, "type"); typ {
		case "":
			errs = append(errs, field.Required(at.Child("type"), "type is required when "+k.key+" is set"))
		case "Localhost":
			switch {
			case strings.TrimSpace(file) == "":
				errs = append(errs, field.Required(at.Child("localhostProfile"), "must be set when "+k.name+" type is Localhost"))
			case k.key == "seccompProfile":
				errs = append(errs, check.LocalPath(at.Child("localhostProfile"), file)...)
			case strings.TrimSpace(file) != file:
				errs = append(errs, field.Invalid(at.Child("localhostProfile"), file, "must not be padded with whitespace"))
			}
		default:
			if hasFile {
				errs = append(errs, field.Invalid(at.Child("localhostProfile"), p, "can only be set when "+k.name+" type is Localhost"))
			}
		}
	}
	return errs
}

func (v *validator) sysctls(s map[string]any, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	seen := map[string]bool{}
	for i, e := range tree.List(s, "sysctls") {
		name := tree.Str(tree.Object(e), "name")
		at := path.Index(i).Child("name")
		switch {
		case name == "":
			errs = append(errs, field.Required(at, ""))
		case !sysctlName.MatchString(name) || len(name) > 253:
			errs = append(errs, field.Invalid(at, name, fmt.Sprintf("must have at most 253 characters and match regex %s", sysctlPattern)))
		case seen[name]:
			errs = append(errs, field.Duplicate(at, name))
		}
		seen[name] = true
		dotted := strings.ReplaceAll(name, "/", ".")
		if tree.Bool(v.spec, "hostNetwork") && strings.HasPrefix(dotted, "net.") {
			errs = append(errs, field.Invalid(at, name, "may not be specified when 'hostNetwork' is true"))
		}
		if tree.Bool(v.spec, "hostIPC") && (strings.HasPrefix(dotted, "kernel.shm") || strings.HasPrefix(dotted, "kernel.msg") ||
			dotted == "kernel.sem" || strings.HasPrefix(dotted, "fs.mqueue.")) {
			errs = append(errs, field.Invalid(at, name, "may not be specified when 'hostIPC' is true"))
		}
	}
	return errs
}
