package others

import (
	"context"

	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	netutils "k8s.io/utils/net"

	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/check"
	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/tree"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// validator is an OnValidate.
type validator = func(context.Context, *resource.Request) field.ErrorList

// named is a validator of the name alone.
func named(valid func(string) []string) validator {
	return func(_ context.Context, r *resource.Request) field.ErrorList { return check.Name(r.Object, valid) }
}

func validateLease(_ context.Context, r *resource.Request) field.ErrorList {
	errs := check.Name(r.Object, check.DNSSubdomain)
	spec, path := tree.Map(r.Object, "spec"), field.NewPath("spec")
	if n, ok := tree.Int(spec, "leaseDurationSeconds"); ok && n <= 0 {
		errs = append(errs, field.Invalid(path.Child("leaseDurationSeconds"), n, "must be greater than 0"))
	}
	errs = append(errs, check.NonNegative(spec, path, "leaseTransitions")...)
	return errs
}

// The most that a slice may hold.
const (
	maxEndpoints = 1000
	maxAddresses = 100
	maxPorts     = 20000
)

func validateSlice(_ context.Context, r *resource.Request) field.ErrorList {
	errs := check.Name(r.Object, check.DNSSubdomain)
	family := tree.Str(r.Object, "addressType")
	if family == "" {
		errs = append(errs, field.Required(field.NewPath("addressType"), ""))
	}
	errs = append(errs, slicePorts(tree.List(r.Object, "ports"), field.NewPath("ports"))...)
	list, path := tree.List(r.Object, "endpoints"), field.NewPath("endpoints")
	if len(list) > maxEndpoints {
		return append(errs, field.TooMany(path, len(list), maxEndpoints))
	}
	for i, v := range list {
		errs = append(errs, sliceEndpoint(tree.Object(v), family, path.Index(i))...)
	}
	if r.Operation == resource.Update {
		errs = append(errs, check.Unchanged(field.NewPath("addressType"), r.Object["addressType"], r.Old["addressType"])...)
	}
	return errs
}

func slicePorts(ports []any, path *field.Path) field.ErrorList {
	if len(ports) > maxPorts {
		return field.ErrorList{field.TooMany(path, len(ports), maxPorts)}
	}
	var errs field.ErrorList
	seen := map[string]bool{}
	for i, v := range ports {
		p, at := tree.Object(v), path.Index(i)
		name := tree.Str(p, "name")
		if name != "" {
			errs = append(errs, check.Invalid(at.Child("name"), name, check.DNSLabel(name))...)
		}
		if seen[name] {
			errs = append(errs, field.Duplicate(at.Child("name"), name))
		}
		seen[name] = true
		if a := tree.Str(p, "appProtocol"); a != "" {
			errs = append(errs, check.Invalid(at.Child("appProtocol"), a, validation.IsQualifiedName(a))...)
		}
	}
	return errs
}

func sliceEndpoint(e map[string]any, family string, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	path := at.Child("addresses")
	addresses := tree.Strings(e, "addresses")
	switch n := len(addresses); {
	case n == 0:
		errs = append(errs, field.Required(path, "must contain at least 1 address"))
	case n > maxAddresses:
		errs = append(errs, field.TooMany(path, n, maxAddresses))
	}
	for i, a := range addresses {
		switch family {
		case "IPv4", "IPv6":
			if wrong := check.IP(path.Index(i), a); len(wrong) > 0 {
				errs = append(errs, wrong...)
				continue
			}
			if netutils.IsIPv6String(a) != (family == "IPv6") {
				errs = append(errs, field.Invalid(path, a, "must be an "+family+" address"))
			}
			errs = append(errs, check.EndpointIP(a, path.Index(i))...)
		case "FQDN":
			errs = append(errs, validation.IsFullyQualifiedDomainName(path.Index(i), a)...)
		}
	}
	if n := tree.Str(e, "nodeName"); n != "" {
		errs = append(errs, check.Invalid(at.Child("nodeName"), n, check.DNSSubdomain(n))...)
	}
	if h := tree.Str(e, "hostname"); h != "" {
		errs = append(errs, check.Invalid(at.Child("hostname"), h, check.DNSLabel(h))...)
	}
	return errs
}

func validateEvent(_ context.Context, r *resource.Request) field.ErrorList {
	errs := check.Name(r.Object, check.DNSSubdomain)
	o := r.Object
	if r.Operation == resource.Update {
		for _, key := range [...]string{"regarding", "reason", "note", "type", "action", "reportingController", "reportingInstance"} {
			errs = append(errs, check.Unchanged(field.NewPath(key), o[key], r.Old[key])...)
		}
		return errs
	}
	for _, key := range [...]string{"eventTime", "reportingController", "reportingInstance", "action", "reason"} {
		errs = append(errs, check.Required(o, nil, key)...)
	}
	if t := tree.Str(o, "type"); t != "Normal" && t != "Warning" {
		errs = append(errs, field.Invalid(field.NewPath("type"), "", "has invalid value: "+t))
	}
	return errs
}

func prepareBudget(_ context.Context, r *resource.Request) error {
	if r.Operation == resource.Create {
		r.Object["status"] = map[string]any{
			"disruptionsAllowed": int64(0), "currentHealthy": int64(0), "desiredHealthy": int64(0), "expectedPods": int64(0),
		}
	}
	return nil
}

func validateBudget(_ context.Context, r *resource.Request) field.ErrorList {
	errs := check.Name(r.Object, check.DNSSubdomain)
	spec, path := tree.Map(r.Object, "spec"), field.NewPath("spec")
	if spec["minAvailable"] != nil && spec["maxUnavailable"] != nil {
		errs = append(errs, field.Invalid(path, spec, "minAvailable and maxUnavailable cannot be both set"))
	}
	for _, key := range [...]string{"minAvailable", "maxUnavailable"} {
		errs = append(errs, check.IntOrPercent(spec[key], path.Child(key))...)
		errs = append(errs, check.NotOverAll(spec[key], path.Child(key))...)
	}
	return append(errs, check.Selector(tree.Map(spec, "selector"), path.Child("selector"))...)
}
