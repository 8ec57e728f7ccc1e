package podspec

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/check"
	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/tree"
)

// containerRequests sums what the containers of a pod ask for: all containers at once, or
// the largest init container where that is more; an init container that keeps running
// counts for what comes after it.
func containerRequests(spec map[string]any) map[string]resource.Quantity {
	sum := map[string]resource.Quantity{}
	largest := map[string]resource.Quantity{}
	sidecars := map[string]resource.Quantity{}
	for _, v := range tree.List(spec, "initContainers") {
		c := tree.Object(v)
		requests := quantities(tree.In(c, "resources", "requests"))
		if tree.Str(c, "restartPolicy") == "Always" {
			add(sidecars, requests)
			add(sum, requests)
			requests = nil
		}
		now := map[string]resource.Quantity{}
		add(now, sidecars)
		add(now, requests)
		for k, q := range now {
			if have, ok := largest[k]; !ok || q.Cmp(have) > 0 {
				largest[k] = q
			}
		}
	}
	for _, v := range tree.List(spec, "containers") {
		add(sum, quantities(tree.In(tree.Object(v), "resources", "requests")))
	}
	for k, q := range largest {
		if have, ok := sum[k]; !ok || q.Cmp(have) > 0 {
			sum[k] = q
		}
	}
	return sum
}

func add(to, from map[string]resource.Quantity) {
	for k, q := range from {
		have := to[k]
		have.Add(q)
		to[k] = have
	}
}

func quantities(list map[string]any) map[string]resource.Quantity {
	out := make(map[string]resource.Quantity, len(list))
	for k, v := range list {
		if q, ok := quantity(v); ok {
			out[k] = q
		}
	}
	return out
}

func quantity(v any) (resource.Quantity, bool) {
	s, ok := v.(string)
	if !ok {
		s = fmt.Sprint(v)
	}
	q, err := resource.ParseQuantity(s)
	return q, err == nil
}

// QOSClass returns the quality of service of a pod: Guaranteed, Burstable or BestEffort.
func QOSClass(spec map[string]any) string {
	if r := tree.Map(spec, "resources"); len(tree.Map(r, "requests")) > 0 || len(tree.Map(r, "limits")) > 0 {
		return qosOf([]map[string]any{r})
	}
	var all []map[string]any
	for _, list := range [...]string{"containers", "initContainers"} {
		for _, v := range tree.List(spec, list) {
			all = append(all, tree.Map(tree.Object(v), "resources"))
		}
	}
	return qosOf(all)
}

// qosOf asks, for each amount, whether it is more than nothing; Guaranteed needs limits of
// cpu and memory everywhere and requests equal to them.
func qosOf(all []map[string]any) string {
	some, guaranteed := false, true
	for _, r := range all {
		requests, limits := tree.Map(r, "requests"), tree.Map(r, "limits")
		for _, key := range [...]string{"cpu", "memory"} {
			request, limit := positive(requests, key), positive(limits, key)
			if request || limit {
				some = true
			}
			if !limit || request && !sameQuantity(requests[key], limits[key]) {
				guaranteed = false
			}
		}
	}
	switch {
	case !some:
		return "BestEffort"
	case guaranteed:
		return "Guaranteed"
	default:
		return "Burstable"
	}
}

func positive(list map[string]any, key string) bool {
	v := list[key]
	if v == nil {
		return false
	}
	if s, ok := v.(string); ok && s != "" && s[0] >= '1' && s[0] <= '9' {
		return true
	}
	q, ok := quantity(v)
	return ok && q.Sign() > 0
}

func sameQuantity(a, b any) bool {
	if a == b {
		return true
	}
	x, okX := quantity(a)
	y, okY := quantity(b)
	return okX && okY && x.Cmp(y) == 0
}

// ValidateResources checks what is asked for outside of containers (an overhead) as if it
// were a container's.
func ValidateResources(r map[string]any, path *field.Path) field.ErrorList {
	return validateResources(r, path)
}

// ValidateResourceName checks the name of a resource that containers may ask for.
func ValidateResourceName(name string, path *field.Path) field.ErrorList {
	if knownResource(name) {
		return nil
	}
	return validateResourceName(name, path)
}

// validateResources checks requests and limits of a container.
func validateResources(r map[string]any, path *field.Path) field.ErrorList {
	if len(r) == 0 {
		return nil
	}
	limits, requests := tree.Map(r, "limits"), tree.Map(r, "requests")
	var errs field.ErrorList
	for key, v := range limits {
		errs = append(errs, validateAmount(key, v, path, "limits")...)
	}
	for key, v := range requests {
		errs = append(errs, validateAmount(key, v, path, "requests")...)
		limit, limited := limits[key]
		if !limited {
			if !overcommittable(key) {
				errs = append(errs, field.Required(path.Child("limits"), "Limit must be set for non overcommitable resources"))
			}
			continue
		}
		if limit == v {
			continue
		}
		q, okQ := quantity(v)
		l, okL := quantity(limit)
		if !okQ || !okL {
			continue
		}
		switch {
		case q.Cmp(l) != 0 && !overcommittable(key):
			errs = append(errs, field.Invalid(path.Child("requests"), q.String(),
				fmt.Sprintf("must be equal to %s limit of %s", key, l.String())))
		case q.Cmp(l) > 0:
			errs = append(errs, field.Invalid(path.Child("requests"), q.String(),
				fmt.Sprintf("must be less than or equal to %s limit of %s", key, l.String())))
		}
	}
	if hugePages(limits, requests) {
		errs = append(errs, field.Forbidden(path, "HugePages require cpu or memory"))
	}
	return append(errs, validateClaims(r, path)...)
}

// hugePages reports whether huge pages are asked for without cpu or memory.
func hugePages(lists ...map[string]any) bool {
	huge := false
	for _, list := range lists {
		for key := range list {
			if key == "cpu" || key == "memory" {
				return false
			}
			huge = huge || strings.HasPrefix(key, "hugepages-")
		}
	}
	return huge
}

func validateClaims(r map[string]any, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	seen := map[string]bool{}
	for i, v := range tree.List(r, "claims") {
		c := tree.Object(v)
		name, at := tree.Str(c, "name"), path.Child("claims").Index(i)
		key := name + "/" + tree.Str(c, "request")
		switch {
		case name == "":
			errs = append(errs, field.Required(at.Child("name"), ""))
		case seen[key]:
			errs = append(errs, field.Duplicate(at, name))
		}
		seen[key] = true
	}
	return errs
}

func validateAmount(key string, v any, path *field.Path, list string) field.ErrorList {
	var errs field.ErrorList
	if !knownResource(key) {
		errs = append(errs, validateResourceName(key, path.Child(list).Key(key))...)
	}
	s, ok := v.(string)
	if ok && s != "" && s[0] >= '0' && s[0] <= '9' && !wholeOnly(key) {
		return errs
	}
	q, ok := quantity(v)
	if !ok {
		return errs
	}
	at := path.Child(list).Key(key)
	if q.Sign() < 0 {
		errs = append(errs, field.Invalid(at, q.String(), check.NotNegative))
	}
	if wholeOnly(key) && q.MilliValue()%1000 != 0 {
		errs = append(errs, field.Invalid(at, q, "must be an integer"))
	}
	return errs
}

func knownResource(key string) bool {
	switch key {
	case "cpu", "memory", "ephemeral-storage":
		return true
	}
	return strings.HasPrefix(key, "hugepages-")
}

// overcommittable reports whether a limit may be larger than the request.
func overcommittable(key string) bool {
	return (native(key)) && !strings.HasPrefix(key, "hugepages-")
}

// wholeOnly reports whether only whole numbers make sense: extended resources.
func wholeOnly(key string) bool { return !native(key) }

func native(key string) bool {
	return !strings.Contains(key, "/") || strings.Contains(key, "kubernetes.io/")
}

// quotaNames are resources that have a name in quotas and no meaning for containers.
var quotaNames = []string{
	"storage", "pods", "services", "replicationcontrollers", "resourcequotas", "secrets", "configmaps",
	"persistentvolumeclaims", "services.nodeports", "services.loadbalancers",
	"requests.cpu", "requests.memory", "requests.storage", "requests.ephemeral-storage",
	"limits.cpu", "limits.memory", "limits.ephemeral-storage",
}

func validateResourceName(name string, path *field.Path) field.ErrorList {
	errs := check.Invalid(path, name, validation.IsQualifiedName(name))
	if !strings.Contains(name, "/") {
		if len(errs) == 0 && !slices.Contains(quotaNames, name) {
			errs = append(errs, field.Invalid(path, name, "must be a standard resource type or fully qualified"))
		}
		return append(errs, field.Invalid(path, name, "must be a standard resource for containers"))
	}
	if !native(name) && strings.HasPrefix(name, "requests.") {
		errs = append(errs, field.Invalid(path, name, "doesn't follow extended resource name standard"))
	}
	return errs
}
