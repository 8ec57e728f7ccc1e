package core

import (
	"context"
	"slices"
	"strings"

	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	netutils "k8s.io/utils/net"

	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/check"
	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/tree"
	"github.com/pintle-dev/pintle/sdk/resource"
)

func defaultNode(r *resource.Request) {
	if status := tree.Map(r.Object, "status"); status != nil {
		if capacity := tree.Map(status, "capacity"); capacity != nil && tree.Map(status, "allocatable") == nil {
			status["allocatable"] = tree.CopyMap(capacity)
		}
	}
	spec := tree.Map(r.Object, "spec")
	if spec == nil {
		return
	}
	switch cidr, list := tree.Str(spec, "podCIDR"), tree.Strings(spec, "podCIDRs"); {
	case cidr != "" && (len(list) == 0 || list[0] != cidr):
		spec["podCIDRs"] = tree.Of(cidr)
	case cidr == "" && len(list) > 0:
		spec["podCIDR"] = list[0]
	}
}

func validateNode(_ context.Context, r *resource.Request) field.ErrorList {
	errs := check.Name(r.Object, check.DNSSubdomain)
	spec, status := tree.Map(r.Object, "spec"), tree.Map(r.Object, "status")
	errs = append(errs, taints(tree.List(spec, "taints"), field.NewPath("metadata", "taints"))...)
	for _, list := range [...]string{"capacity", "allocatable"} {
		for key, v := range tree.Map(status, list) {
			if s, ok := v.(string); ok && strings.HasPrefix(s, "-") {
				errs = append(errs, field.Invalid(field.NewPath("status", list, key), s, check.NotNegative))
			}
		}
	}
	cidrs := tree.Strings(spec, "podCIDRs")
	path := field.NewPath("spec", "podCIDRs")
	for i, c := range cidrs {
		if _, _, err := netutils.ParseCIDRSloppy(c); err != nil {
			errs = append(errs, field.Invalid(path.Index(i), c, "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"))
		}
	}
	if len(cidrs) > 1 {
		if dual, err := netutils.IsDualStackCIDRStrings(cidrs); err == nil && (!dual || len(cidrs) > 2) {
			errs = append(errs, field.Invalid(path, cidrs, "may specify no more than one CIDR for each IP family"))
		}
	}
	if r.Operation == resource.Update {
		errs = append(errs, nodeUpdate(spec, status, tree.Map(r.Old, "spec"), path)...)
	}
	return errs
}

func nodeUpdate(spec, status, was map[string]any, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if before := tree.Strings(was, "podCIDRs"); len(before) > 0 && !slices.Equal(before, tree.Strings(spec, "podCIDRs")) {
		errs = append(errs, field.Forbidden(path, `node updates may not change podCIDR except from "" to valid`))
	}
	if id := tree.Str(was, "providerID"); id != "" && id != tree.Str(spec, "providerID") {
		errs = append(errs, field.Forbidden(field.NewPath("spec", "providerID"), `node updates may not change providerID except from "" to valid`))
	}
	seen := map[[2]string]bool{}
	for i, v := range tree.List(status, "addresses") {
		a := tree.Object(v)
		key := [2]string{tree.Str(a, "type"), tree.Str(a, "address")}
		if seen[key] {
			errs = append(errs, field.Duplicate(field.NewPath("status", "addresses").Index(i), a))
		}
		seen[key] = true
	}
	return errs
}

// taints checks taints; upstream names their path as if they were metadata.
func taints(list []any, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	seen := map[string]bool{}
	for i, v := range list {
		t, at := tree.Object(v), path.Index(i)
		key, value, effect := tree.Str(t, "key"), tree.Str(t, "value"), tree.Str(t, "effect")
		errs = append(errs, metav1validation.ValidateLabelName(key, at.Child("key"))...)
		if messages := validation.IsValidLabelValue(value); len(messages) > 0 {
			errs = append(errs, field.Invalid(at.Child("value"), value, strings.Join(messages, ";")))
		}
		if effect == "" {
			errs = append(errs, field.Required(at.Child("effect"), ""))
		}
		if seen[key+" "+effect] {
			d := field.Duplicate(at, t)
			d.Detail = "taints must be unique by key and effect pair"
			errs = append(errs, d)
		}
		seen[key+" "+effect] = true
	}
	return errs
}
