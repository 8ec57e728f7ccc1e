package core

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	apiresource "k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/check"
	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/tree"
	"github.com/pintle-dev/pintle/plugins/kubeapi/podspec"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// counted are the resources of quotas that come in whole numbers, measured those that do
// not.
var (
	counted = []string{
		"pods", "resourcequotas", "services", "replicationcontrollers", "secrets", "configmaps", "persistentvolumeclaims",
		"services.nodeports", "services.loadbalancers",
	}
	measured = []string{
		"cpu", "memory", "ephemeral-storage", "requests.cpu", "requests.memory", "requests.storage",
		"requests.ephemeral-storage", "limits.cpu", "limits.memory", "limits.ephemeral-storage",
	}
)

func quotaResource(name string) bool {
	return slices.Contains(counted, name) || slices.Contains(measured, name) ||
		strings.HasPrefix(name, "hugepages-") || strings.HasPrefix(name, "requests.hugepages-")
}

// scopeResources says what quotas may count of the objects in a scope.
var scopeResources = map[string][]string{
	"BestEffort":                {"pods"},
	"NotBestEffort":             podResources,
	"Terminating":               podResources,
	"NotTerminating":            podResources,
	"PriorityClass":             podResources,
	"CrossNamespacePodAffinity": podResources,
	"VolumeAttributesClass":     {"persistentvolumeclaims", "requests.storage"},
}

var podResources = []string{"pods", "cpu", "memory", "limits.cpu", "limits.memory", "requests.cpu", "requests.memory"}

func validateQuota(_ context.Context, r *resource.Request) field.ErrorList {
	errs := check.Name(r.Object, check.DNSSubdomain)
	spec, path := tree.Map(r.Object, "spec"), field.NewPath("spec")
	hard := tree.Map(spec, "hard")
	for key, v := range hard {
		errs = append(errs, quotaAmount(key, v, path.Child("hard").Key(key))...)
	}
	names := slices.Sorted(maps.Keys(hard))
	scopes, at := tree.Strings(spec, "scopes"), path.Child("scopes")
	for _, s := range scopes {
		errs = append(errs, quotaScope(s, names, field.Invalid(at, scopes, "unsupported scope"), field.Invalid(at, scopes, "unsupported scope applied to resource"))...)
	}
	errs = append(errs, conflicting(scopes, scopes, at)...)
	errs = append(errs, scopeSelector(tree.List(tree.Map(spec, "scopeSelector"), "matchExpressions"), names, path)...)
	if r.Operation == resource.Update && r.Subresource == "" {
		errs = append(errs, check.Unchanged(at, spec["scopes"], tree.Map(r.Old, "spec")["scopes"])...)
	}
	return errs
}

func quotaAmount(key string, v any, path *field.Path) field.ErrorList {
	errs := resourceName(key, path)
	if !strings.Contains(key, "/") && !quotaResource(key) {
		errs = append(errs, field.Invalid(path, key, "must be a standard resource for quota"))
	}
	q, ok := amount(v)
	if !ok {
		return errs
	}
	if q.Sign() < 0 {
		errs = append(errs, field.Invalid(path, q.String(), check.NotNegative))
	}
	extended := strings.Contains(key, "/") && !strings.Contains(key, "kubernetes.io/") && !strings.HasPrefix(key, "requests.")
	if (extended || slices.Contains(counted, key)) && q.MilliValue()%1000 != 0 {
		errs = append(errs, field.Invalid(path, q.String(), "must be an integer"))
	}
	return errs
}

// resourceName checks a name that is one of Kubernetes' own or has a domain.
func resourceName(name string, path *field.Path) field.ErrorList {
	if errs := check.Invalid(path, name, validation.IsQualifiedName(name)); len(errs) > 0 {
		return errs
	}
	if !strings.Contains(name, "/") && !quotaResource(name) && name != "storage" {
		return field.ErrorList{field.Invalid(path, name, "must be a standard resource type or fully qualified")}
	}
	return nil
}

func quotaScope(scope string, names []string, unknown, misfit *field.Error) field.ErrorList {
	fits, ok := scopeResources[scope]
	if !ok {
		return field.ErrorList{unknown}
	}
	var errs field.ErrorList
	for _, n := range names {
		if quotaResource(n) && !slices.Contains(fits, n) {
			errs = append(errs, misfit)
		}
	}
	return errs
}

// conflicting checks that scopes can have something in common.
func conflicting(scopes []string, shown any, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for _, pair := range [...]string{"BestEffort", "Terminating"} {
		if slices.Contains(scopes, pair) && slices.Contains(scopes, "Not"+pair) {
			errs = append(errs, field.Invalid(path, shown, "conflicting scopes"))
		}
	}
	return errs
}

func scopeSelector(list []any, names []string, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	var scopes []string
	at := path.Child("scopeSelector", "matchExpressions")
	for _, v := range list {
		e := tree.Object(v)
		scope, operator, values := tree.Str(e, "scopeName"), tree.Str(e, "operator"), tree.Strings(e, "values")
		errs = append(errs, quotaScope(scope, names, field.Invalid(at.Child("scopeName"), scope, "unsupported scope"),
			field.Invalid(at, list, "unsupported scope applied to resource"))...)
		if scope != "PriorityClass" && scope != "VolumeAttributesClass" && scopeResources[scope] != nil && operator != "Exists" {
			errs = append(errs, field.Invalid(at.Child("operator"), operator, "must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity"))
		}
		switch operator {
		case "In", "NotIn":
			if len(values) == 0 {
				errs = append(errs, field.Required(at.Child("values"), "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector"))
			}
		case "Exists", "DoesNotExist":
			if len(values) > 0 {
				errs = append(errs, field.Invalid(at.Child("values"), values, "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector"))
			}
		default:
			errs = append(errs, field.Invalid(at.Child("operator"), operator, "not a valid selector operator"))
		}
		scopes = append(scopes, scope)
	}
	return append(errs, conflicting(scopes, scopes, path.Child("scopes"))...)
}

func validateLimitRange(_ context.Context, r *resource.Request) field.ErrorList {
	errs := check.Name(r.Object, check.DNSSubdomain)
	path := field.NewPath("spec", "limits")
	seen := map[string]bool{}
	for i, v := range tree.List(tree.Map(r.Object, "spec"), "limits") {
		l, at := tree.Object(v), path.Index(i)
		typ := tree.Str(l, "type")
		errs = append(errs, limitType(typ, at.Child("type"))...)
		if seen[typ] {
			errs = append(errs, field.Duplicate(at.Child("type"), typ))
		}
		seen[typ] = true
		for _, key := range [...]string{"max", "min", "default", "defaultRequest", "maxLimitRequestRatio"} {
			if typ == "Pod" && strings.HasPrefix(key, "default") {
				if len(tree.Map(l, key)) > 0 {
					errs = append(errs, field.Forbidden(at.Child(key), "may not be specified when `type` is 'Pod'"))
				}
				continue
			}
			for name := range tree.Map(l, key) {
				valid := resourceName
				if typ == "Pod" || typ == "Container" {
					valid = podspec.ValidateResourceName
				}
				errs = append(errs, valid(name, at.Child(key).Key(name))...)
			}
		}
		if typ == "PersistentVolumeClaim" && tree.Map(l, "min")["storage"] == nil && tree.Map(l, "max")["storage"] == nil {
			errs = append(errs, field.Required(at.Child("limits"), "either minimum or maximum storage value is required, but neither was provided"))
		}
		errs = append(errs, ordered(l, at)...)
		errs = append(errs, ratios(l, at)...)
	}
	return errs
}

func limitType(typ string, path *field.Path) field.ErrorList {
	if errs := check.Invalid(path, typ, validation.IsQualifiedName(typ)); len(errs) > 0 {
		return errs
	}
	if !strings.Contains(typ, "/") && !slices.Contains([]string{"Pod", "Container", "PersistentVolumeClaim"}, typ) {
		return field.ErrorList{field.Invalid(path, typ, "must be a standard limit type or fully qualified")}
	}
	return nil
}

// ratios checks how much more than it asks for something may be allowed to take.
func ratios(l map[string]any, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	one := apiresource.MustParse("1")
	for key, v := range tree.Map(l, "maxLimitRequestRatio") {
		ratio, ok := amount(v)
		if !ok {
			continue
		}
		at := path.Child("maxLimitRequestRatio").Key(key)
		if ratio.Cmp(one) < 0 {
			errs = append(errs, field.Invalid(at, ratio.String(), fmt.Sprintf("ratio %s is less than 1", ratio.String())))
		}
		least, okMin := amount(tree.Map(l, "min")[key])
		most, okMax := amount(tree.Map(l, "max")[key])
		if !okMin || !okMax {
			continue
		}
		if top := most.AsApproximateFloat64() / least.AsApproximateFloat64(); ratio.AsApproximateFloat64() > top {
			errs = append(errs, field.Invalid(at, ratio.String(), fmt.Sprintf("ratio %s is greater than max/min = %f", ratio.String(), top)))
		}
	}
	return errs
}
