package podspec

import (
	"fmt"
	"math"
	"regexp"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/check"
	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/tree"
)

// Validate checks a pod spec at a path. pod says that it is a pod's, not a template's.
func Validate(spec map[string]any, path *field.Path, pod bool) field.ErrorList {
	var errs field.ErrorList
	v := newValidator(spec, pod)
	// Most pods have few of these parts; a path is made for those they have.
	part := func(key string, check func(*field.Path) field.ErrorList) {
		if spec[key] != nil {
			errs = append(errs, check(path.Child(key))...)
		}
	}
	part("volumes", v.volumes)
	part("resourceClaims", v.claims)
	errs = append(errs, v.containers(path.Child("containers"))...)
	part("initContainers", v.initContainers)
	part("ephemeralContainers", v.ephemeralContainers)
	errs = append(errs, v.hostNetwork(path)...)
	errs = append(errs, check.Labels(spec, path, "nodeSelector")...)
	part("securityContext", v.podSecurity)
	part("affinity", func(p *field.Path) field.ErrorList { return validateAffinity(tree.Map(spec, "affinity"), p) })
	errs = append(errs, validateDNS(spec, path)...)
	errs = append(errs, validateGates(spec, path)...)
	part("topologySpreadConstraints", func(p *field.Path) field.ErrorList {
		return validateSpread(tree.List(spec, "topologySpreadConstraints"), p)
	})
	errs = append(errs, validateNames(spec, path)...)
	part("tolerations", func(p *field.Path) field.ErrorList { return ValidateTolerations(tree.List(spec, "tolerations"), p) })
	part("hostAliases", func(p *field.Path) field.ErrorList { return validateHostAliases(tree.List(spec, "hostAliases"), p) })
	if d, ok := tree.Int(spec, "activeDeadlineSeconds"); ok && (d < 1 || d > math.MaxInt32) {
		errs = append(errs, field.Invalid(path.Child("activeDeadlineSeconds"), d, validation.InclusiveRangeError(1, math.MaxInt32)))
	}
	if o := tree.Map(spec, "overhead"); len(o) > 0 {
		errs = append(errs, validateResources(map[string]any{"limits": o}, path.Child("overhead"))...)
	}
	if r := tree.Map(spec, "resources"); len(r) > 0 {
		errs = append(errs, validateResources(r, path.Child("resources"))...)
	}
	errs = append(errs, v.hostUsers(path)...)
	return errs
}

// validator has what the parts of a pod spec must know of each other.
type validator struct {
	spec        map[string]any
	pod         bool
	volumeNames map[string]map[string]any
	names       map[string]bool
}

func newValidator(spec map[string]any, pod bool) *validator {
	return &validator{spec: spec, pod: pod}
}

// validateNames checks the names of other objects.
func validateNames(spec map[string]any, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for _, n := range [...]struct {
		key   string
		valid func(string) []string
	}{
		{"hostname", check.DNSLabel},
		{"nodeName", check.DNSSubdomain},
		{"priorityClassName", check.DNSSubdomain},
		{"runtimeClassName", check.DNSSubdomain},
		{"serviceAccountName", check.DNSSubdomain},
		{"subdomain", check.DNSLabel},
	} {
		if s := tree.Str(spec, n.key); s != "" {
			if messages := n.valid(s); messages != nil {
				errs = append(errs, check.Invalid(path.Child(n.key), s, messages)...)
			}
		}
	}
	return errs
}

func (v *validator) hostNetwork(path *field.Path) field.ErrorList {
	if !tree.Bool(v.spec, "hostNetwork") {
		return nil
	}
	var errs field.ErrorList
	for i, c := range tree.List(v.spec, "containers") {
		for j, p := range tree.List(tree.Object(c), "ports") {
			port := tree.Object(p)
			host, container := tree.Int0(port, "hostPort"), tree.Int0(port, "containerPort")
			if (v.pod || host != 0) && host != container {
				errs = append(errs, field.Invalid(path.Child("containers").Index(i).Child("ports").Index(j).Child("hostPort"),
					host, "must match `containerPort` when `hostNetwork` is true"))
			}
		}
	}
	return errs
}

func (v *validator) hostUsers(path *field.Path) field.ErrorList {
	if users, ok := v.spec["hostUsers"].(bool); !ok || users {
		return nil
	}
	var errs field.ErrorList
	for _, f := range [...]struct{ key, path string }{
		{"hostNetwork", "hostNetwork"}, {"hostPID", "HostPID"}, {"hostIPC", "HostIPC"},
	} {
		if tree.Bool(v.spec, f.key) {
			errs = append(errs, field.Forbidden(path.Child(f.path), "when `hostUsers` is false"))
		}
	}
	return errs
}

func validateGates(spec map[string]any, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i, g := range tree.List(spec, "readinessGates") {
		c := tree.Str(tree.Object(g), "conditionType")
		errs = append(errs, check.Invalid(path.Child("readinessGates").Index(i).Child("conditionType"), c, validation.IsQualifiedName(c))...)
	}
	seen := map[string]bool{}
	for i, g := range tree.List(spec, "schedulingGates") {
		at := path.Child("schedulingGates").Index(i)
		name := tree.Str(tree.Object(g), "name")
		errs = append(errs, check.Invalid(at, name, validation.IsQualifiedName(name))...)
		if seen[name] {
			errs = append(errs, field.Duplicate(at, name))
		}
		seen[name] = true
	}
	return errs
}

// Limits of the resolver's configuration.
const (
	maxNameservers     = 3
	maxSearches        = 32
	maxSearchListChars = 2048
)

func validateDNS(spec map[string]any, path *field.Path) field.ErrorList {
	config := tree.Map(spec, "dnsConfig")
	if config == nil && tree.Str(spec, "dnsPolicy") != "None" {
		return nil
	}
	path = path.Child("dnsConfig")
	servers := tree.Strings(config, "nameservers")
	if tree.Str(spec, "dnsPolicy") == "None" {
		if config == nil {
			return field.ErrorList{field.Required(path, "must provide `dnsConfig` when `dnsPolicy` is None")}
		}
		if len(servers) == 0 {
			return field.ErrorList{field.Required(path.Child("nameservers"), "must provide at least one DNS nameserver when `dnsPolicy` is None")}
		}
	}
	var errs field.ErrorList
	if len(servers) > maxNameservers {
		errs = append(errs, field.Invalid(path.Child("nameservers"), servers, fmt.Sprintf("must not have more than %d nameservers", maxNameservers)))
	}
	for i, s := range servers {
		errs = append(errs, check.IP(path.Child("nameservers").Index(i), s)...)
	}
	searches := tree.Strings(config, "searches")
	if len(searches) > maxSearches {
		errs = append(errs, field.Invalid(path.Child("searches"), searches, fmt.Sprintf("must not have more than %d search paths", maxSearches)))
	}
	if len(strings.Join(searches, " ")) > maxSearchListChars {
		errs = append(errs, field.Invalid(path.Child("searches"), searches,
			fmt.Sprintf("must not have more than %d characters (including spaces) in the search list", maxSearchListChars)))
	}
	for i, s := range searches {
		if s == "." {
			continue
		}
		s = strings.TrimSuffix(s, ".")
		errs = append(errs, check.Invalid(path.Child("searches").Index(i), s, validation.IsDNS1123SubdomainWithUnderscore(s))...)
	}
	for i, o := range tree.List(config, "options") {
		if tree.Str(tree.Object(o), "name") == "" {
			errs = append(errs, field.Required(path.Child("options").Index(i), "must not be empty"))
		}
	}
	return errs
}

func validateHostAliases(aliases []any, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i, a := range aliases {
		alias := tree.Object(a)
		errs = append(errs, check.IP(path.Index(i).Child("ip"), tree.Str(alias, "ip"))...)
		for j, h := range tree.Strings(alias, "hostnames") {
			errs = append(errs, check.Invalid(path.Index(i).Child("hostnames").Index(j), h, check.DNSSubdomain(h))...)
		}
	}
	return errs
}

// ValidateTemplate checks a pod template at a path.
func ValidateTemplate(template map[string]any, path *field.Path) field.ErrorList {
	meta, spec := tree.Map(template, "metadata"), tree.Map(template, "spec")
	errs := check.Labels(meta, path, "labels")
	errs = append(errs, check.Annotations(meta, path, "annotations")...)
	errs = append(errs, Validate(spec, path.Child("spec"), false)...)
	if len(tree.List(spec, "ephemeralContainers")) > 0 {
		errs = append(errs, field.Forbidden(path.Child("spec", "ephemeralContainers"), "ephemeral containers not allowed in pod template"))
	}
	return errs
}

const sysctlPattern = `^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$`

var sysctlName = regexp.MustCompile(sysctlPattern)

// AlwaysRestarts checks that a template is fit for a kind whose pods never end.
func AlwaysRestarts(template map[string]any, path *field.Path, kind string) field.ErrorList {
	var errs field.ErrorList
	spec := tree.Map(template, "spec")
	if p := tree.Str(spec, "restartPolicy"); p != "Always" {
		errs = append(errs, field.NotSupported(path.Child("spec", "restartPolicy"), p, []string{"Always"}))
	}
	if spec["activeDeadlineSeconds"] != nil {
		errs = append(errs, field.Forbidden(path.Child("spec", "activeDeadlineSeconds"), "activeDeadlineSeconds in "+kind+" is not Supported"))
	}
	return errs
}
