package core

import (
	"fmt"
	"net/netip"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/tree"
)

// families settles which address families a service has: those of the addresses it asks for,
// those it names, or the cluster's first. It says what of that the cluster can't give.
func families(spec, was map[string]any, ranges []netip.Prefix) field.ErrorList {
	if keepsPreference(spec, was) {
		return nil
	}
	path := field.NewPath("spec")
	anything := headless(spec) && len(tree.Map(spec, "selector")) == 0
	policy := tree.Str(spec, "ipFamilyPolicy")
	if policy == "" {
		switch policy = tree.Str(was, "ipFamilyPolicy"); {
		case policy != "":
		case anything:
			policy = "RequireDualStack"
		default:
			policy = "SingleStack"
		}
		spec["ipFamilyPolicy"] = policy
	}
	if was != nil && policy == "SingleStack" {
		for _, key := range [...]string{"clusterIPs", "ipFamilies"} {
			if l := tree.List(spec, key); len(l) > 1 && tree.Equal(l, tree.List(was, key)) {
				spec[key] = l[:1:1]
			}
		}
	}
	errs := wrongPolicy(spec, was, policy, path.Child("ipFamilyPolicy"))
	have := tree.Strings(spec, "ipFamilies")
	ips := tree.Strings(spec, "clusterIPs")
	for i, s := range ips {
		if s == "None" {
			break
		}
		ip, ok := parseIP(s)
		switch {
		case !ok || i < len(have):
		case !configured(ranges, familyOf(ip)):
			errs = append(errs, field.Invalid(path.Child("clusterIPs").Index(i), ips, familyOf(ip)+" is not configured on this cluster"))
		default:
			have = append(have, familyOf(ip))
		}
	}
	if len(errs) > 0 {
		return errs
	}
	if !anything {
		if errs := unconfigured(policy, have, ranges, path); len(errs) > 0 {
			return errs
		}
	}
	if len(have) == 0 {
		have = []string{familyOf(ranges[0].Addr())}
	}
	if len(have) == 1 && policy != "SingleStack" && (anything || len(ranges) > 1) {
		have = append(have, otherFamily(have[0]))
	}
	spec["ipFamilies"] = tree.Of(have...)
	return nil
}

// keepsPreference reports whether a service that prefers two families stays as it is: it is
// not given a second one, or loses it, because the cluster has changed.
func keepsPreference(spec, was map[string]any) bool {
	const prefer = "PreferDualStack"
	old := tree.Str(was, "ipFamilyPolicy")
	return was != nil && tree.Str(spec, "ipFamilyPolicy") == prefer && (old == "" || old == prefer) &&
		spec["type"] == was["type"] && tree.Equal(spec["clusterIPs"], was["clusterIPs"]) && tree.Equal(spec["ipFamilies"], was["ipFamilies"])
}

// wrongPolicy says where a policy does not fit to how many addresses and families there are.
func wrongPolicy(spec, was map[string]any, policy string, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	for _, l := range [...]struct{ key, released, several string }{
		{"clusterIPs", "cluster IP", "cluster IPs"}, {"ipFamilies", "IP family", "IP families"},
	} {
		n, before := len(tree.List(spec, l.key)), len(tree.List(was, l.key))
		switch {
		case policy == "SingleStack" && n == 2:
			errs = append(errs, field.Invalid(at, policy,
				fmt.Sprintf("must be 'RequireDualStack' or 'PreferDualStack' when multiple %s are specified", l.several)))
		case policy != "SingleStack" && n > 0 && n < before:
			errs = append(errs, field.Invalid(at, policy, fmt.Sprintf("must be 'SingleStack' to release the secondary %s", l.released)))
		}
	}
	return errs
}

func unconfigured(policy string, families []string, ranges []netip.Prefix, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if policy == "RequireDualStack" && len(ranges) < 2 {
		errs = append(errs, field.Invalid(path.Child("ipFamilyPolicy"), policy, "this cluster is not configured for dual-stack services"))
	}
	for i, f := range families {
		if !configured(ranges, f) {
			errs = append(errs, field.Invalid(path.Child("ipFamilies").Index(i), f, "not configured on this cluster"))
		}
	}
	return errs
}

func configured(ranges []netip.Prefix, family string) bool {
	for _, p := range ranges {
		if familyOf(p.Addr()) == family {
			return true
		}
	}
	return false
}

func otherFamily(family string) string {
	if family == "IPv6" {
		return "IPv4"
	}
	return "IPv6"
}
