package podspec

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/check"
	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/tree"
)

func (v *validator) containers(path *field.Path) field.ErrorList {
	list := tree.List(v.spec, "containers")
	if len(list) == 0 {
		return field.ErrorList{field.Required(path, "")}
	}
	var errs field.ErrorList
	v.names = make(map[string]bool, len(list))
	for i, e := range list {
		c, at := tree.Object(e), path.Index(i)
		errs = append(errs, v.container(c, at)...)
		errs = append(errs, v.unique(c, at)...)
		errs = append(errs, v.lifecycleAndProbes(c, at)...)
		errs = append(errs, restartRules(c, at)...)
	}
	return append(errs, hostPortConflicts(list, path)...)
}

func (v *validator) unique(c map[string]any, at *field.Path) field.ErrorList {
	name := tree.Str(c, "name")
	if v.names[name] {
		return field.ErrorList{field.Duplicate(at.Child("name"), name)}
	}
	if name != "" {
		v.names[name] = true
	}
	return nil
}

func (v *validator) initContainers(path *field.Path) field.ErrorList {
	var errs field.ErrorList
	const needsRestart = "may not be set for init containers without restartPolicy=Always"
	for i, e := range tree.List(v.spec, "initContainers") {
		c, at := tree.Object(e), path.Index(i)
		errs = append(errs, v.container(c, at)...)
		errs = append(errs, restartRules(c, at)...)
		errs = append(errs, v.unique(c, at)...)
		// Init containers run one after the other, so their ports do not conflict.
		errs = append(errs, hostPortConflicts([]any{e}, path)...)
		if tree.Str(c, "restartPolicy") == "Always" {
			errs = append(errs, v.lifecycleAndProbes(c, at)...)
			continue
		}
		for _, key := range [...]string{"lifecycle", "livenessProbe", "readinessProbe", "startupProbe"} {
			if c[key] != nil {
				errs = append(errs, field.Forbidden(at.Child(key), needsRestart))
			}
		}
		for j, p := range tree.List(c, "resizePolicy") {
			if r := tree.Str(tree.Object(p), "restartPolicy"); r == "RestartContainer" {
				errs = append(errs, field.Invalid(at.Child("resizePolicy").Index(j).Child("restartPolicy"), r,
					"must not be set to 'RestartContainer' for non-sidecar initContainers"))
			}
		}
	}
	return errs
}

// forbiddenInEphemeral are the fields that would need the pod to be scheduled again.
var forbiddenInEphemeral = [...]string{
	"ports", "livenessProbe", "readinessProbe", "startupProbe", "lifecycle", "resources", "resizePolicy", "restartPolicy",
}

func (v *validator) ephemeralContainers(path *field.Path) field.ErrorList {
	list := tree.List(v.spec, "ephemeralContainers")
	if len(list) == 0 {
		return nil
	}
	var errs field.ErrorList
	targets := map[string]bool{}
	for name := range v.names {
		targets[name] = true
	}
	for i, e := range list {
		c, at := tree.Object(e), path.Index(i)
		errs = append(errs, v.container(c, at)...)
		errs = append(errs, v.unique(c, at)...)
		errs = append(errs, imageSpace(c, at)...)
		if t := tree.Str(c, "targetContainerName"); t != "" && !targets[t] {
			errs = append(errs, field.NotFound(at.Child("targetContainerName"), t))
		}
		for _, key := range forbiddenInEphemeral {
			if value, ok := c[key]; ok && !tree.Equal(value, nil) {
				errs = append(errs, field.Forbidden(at.Child(key), "cannot be set for an Ephemeral Container"))
			}
		}
		for j, m := range tree.List(c, "volumeMounts") {
			for _, key := range [...]string{"subPath", "subPathExpr"} {
				if tree.Str(tree.Object(m), key) != "" {
					errs = append(errs, field.Forbidden(at.Child("volumeMounts").Index(j).Child(key), "cannot be set for an Ephemeral Container"))
				}
			}
		}
	}
	return errs
}

// container checks what is common to containers of all sorts.
func (v *validator) container(c map[string]any, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	if name := tree.Str(c, "name"); name == "" {
		errs = append(errs, field.Required(at.Child("name"), ""))
	} else if messages := check.DNSLabel(name); messages != nil {
		errs = append(errs, check.Invalid(at.Child("name"), name, messages)...)
	}
	if tree.Str(c, "image") == "" {
		errs = append(errs, field.Required(at.Child("image"), ""))
	} else if v.pod {
		errs = append(errs, imageSpace(c, at)...)
	}
	if ports := tree.List(c, "ports"); len(ports) > 0 {
		errs = append(errs, validatePorts(ports, at.Child("ports"))...)
	}
	if env := tree.List(c, "env"); len(env) > 0 {
		errs = append(errs, v.env(env, at.Child("env"))...)
	}
	if from := tree.List(c, "envFrom"); len(from) > 0 {
		errs = append(errs, validateEnvFrom(from, at.Child("envFrom"))...)
	}
	if mounts := tree.List(c, "volumeMounts"); len(mounts) > 0 {
		errs = append(errs, v.mounts(c, mounts, at.Child("volumeMounts"))...)
	}
	if devices := tree.List(c, "volumeDevices"); len(devices) > 0 {
		errs = append(errs, v.devices(devices, at.Child("volumeDevices"))...)
	}
	if r := tree.Map(c, "resources"); len(r) > 0 {
		errs = append(errs, validateResources(r, at.Child("resources"))...)
	}
	if p := tree.List(c, "resizePolicy"); len(p) > 0 {
		errs = append(errs, v.resizePolicy(p, at.Child("resizePolicy"))...)
	}
	if s := tree.Map(c, "securityContext"); len(s) > 0 {
		errs = append(errs, v.security(s, at.Child("securityContext"))...)
	}
	return errs
}

func imageSpace(c map[string]any, at *field.Path) field.ErrorList {
	if image := tree.Str(c, "image"); len(image) != len(strings.TrimSpace(image)) {
		return field.ErrorList{field.Invalid(at.Child("image"), image, "must not have leading or trailing whitespace")}
	}
	return nil
}

func validatePorts(ports []any, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	var names map[string]bool
	for i, e := range ports {
		p := tree.Object(e)
		if name := tree.Str(p, "name"); name != "" {
			if messages := check.PortName(name); messages != nil {
				errs = append(errs, check.Invalid(path.Index(i).Child("name"), name, messages)...)
			} else if names[name] {
				errs = append(errs, field.Duplicate(path.Index(i).Child("name"), name))
			} else {
				if names == nil {
					names = map[string]bool{}
				}
				names[name] = true
			}
		}
		if port := tree.Int0(p, "containerPort"); port == 0 {
			errs = append(errs, field.Required(path.Index(i).Child("containerPort"), ""))
		} else if port < 1 || port > 65535 {
			errs = append(errs, check.Port(path.Index(i).Child("containerPort"), port)...)
		}
		if port := tree.Int0(p, "hostPort"); port < 0 || port > 65535 {
			errs = append(errs, check.Port(path.Index(i).Child("hostPort"), port)...)
		}
	}
	return errs
}

func hostPortConflicts(containers []any, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	var seen map[string]bool
	for i, e := range containers {
		for j, q := range tree.List(tree.Object(e), "ports") {
			p := tree.Object(q)
			port := tree.Int0(p, "hostPort")
			if port == 0 {
				continue
			}
			key := fmt.Sprintf("%s/%s/%d", tree.Str(p, "protocol"), tree.Str(p, "hostIP"), port)
			if seen[key] {
				errs = append(errs, field.Duplicate(path.Index(i).Child("ports").Index(j).Child("hostPort"), key))
			}
			if seen == nil {
				seen = map[string]bool{}
			}
			seen[key] = true
		}
	}
	return errs
}

// restartRules checks a container's own restart policy.
func restartRules(c map[string]any, at *field.Path) field.ErrorList {
	policy, rules := tree.Str(c, "restartPolicy"), tree.List(c, "restartPolicyRules")
	var errs field.ErrorList
	switch policy {
	case "":
		if len(rules) > 0 {
			errs = append(errs, field.Required(at.Child("restartPolicy"), "must specify restartPolicy when restart rules are used"))
		}
	case "Always", "Never", "OnFailure":
	default:
		errs = append(errs, field.NotSupported(at.Child("restartPolicy"), policy, []string{"Always", "Never", "OnFailure"}))
	}
	const maxRules = 20
	if len(rules) > maxRules {
		errs = append(errs, field.TooMany(at.Child("restartPolicyRules"), len(rules), maxRules))
	}
	for i, r := range rules {
		if tree.Map(tree.Object(r), "exitCodes") == nil {
			errs = append(errs, field.Required(at.Child("restartPolicyRules").Index(i).Child("exitCodes"), "must be specified"))
		}
	}
	return errs
}

func (v *validator) resizePolicy(policies []any, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	seen := map[string]bool{}
	for i, e := range policies {
		p := tree.Object(e)
		name, restart := tree.Str(p, "resourceName"), tree.Str(p, "restartPolicy")
		if seen[name] {
			errs = append(errs, field.Duplicate(path.Index(i), name))
		}
		seen[name] = true
		switch name {
		case "cpu", "memory":
		case "":
			errs = append(errs, field.Required(path, ""))
		default:
			errs = append(errs, field.NotSupported(path, name, []string{"cpu", "memory"}))
		}
		switch restart {
		case "NotRequired", "RestartContainer":
		case "":
			errs = append(errs, field.Required(path, ""))
		default:
			errs = append(errs, field.NotSupported(path, restart, []string{"NotRequired", "RestartContainer"}))
		}
		if tree.Str(v.spec, "restartPolicy") == "Never" && restart != "NotRequired" {
			errs = append(errs, field.Invalid(path, restart, "must be 'NotRequired' when pod `restartPolicy` is 'Never'"))
		}
	}
	return errs
}
