package others

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/check"
	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/tree"
	"github.com/pintle-dev/pintle/plugins/kubeapi/podspec"
	"github.com/pintle-dev/pintle/sdk/resource"
)

const highestUserPriority = 1000000000

// systemPriorities are those that nobody may give another value.
var systemPriorities = map[string]int64{"system-node-critical": 2000001000, "system-cluster-critical": 2000000000}

func validatePriorityClass(_ context.Context, r *resource.Request) field.ErrorList {
	errs := check.Name(r.Object, check.DNSSubdomain)
	name, value := tree.Str(tree.Map(r.Object, "metadata"), "name"), tree.Int0(r.Object, "value")
	const reserved = "priority class names with 'system-' prefix are reserved for system use only. error: "
	fixed, known := systemPriorities[name]
	switch {
	case known && value == fixed:
	case known:
		errs = append(errs, field.Forbidden(field.NewPath("metadata", "name"), fmt.Sprintf("%svalue of %s PriorityClass must be %d", reserved, name, fixed)))
	case strings.HasPrefix(name, "system-"):
		errs = append(errs, field.Forbidden(field.NewPath("metadata", "name"), reserved+name+" is not a known system priority class"))
	case value > highestUserPriority:
		errs = append(errs, field.Forbidden(field.NewPath("value"), "maximum allowed value of a user defined priority is 1000000000"))
	}
	if r.Operation == resource.Update {
		if value != tree.Int0(r.Old, "value") {
			errs = append(errs, field.Forbidden(field.NewPath("value"), "may not be changed in an update."))
		}
		errs = append(errs, check.Unchanged(field.NewPath("preemptionPolicy"), r.Object["preemptionPolicy"], r.Old["preemptionPolicy"])...)
	}
	return errs
}

func validateRuntimeClass(_ context.Context, r *resource.Request) field.ErrorList {
	handler, at := tree.Str(r.Object, "handler"), field.NewPath("handler")
	if r.Operation == resource.Update {
		return check.Unchanged(at, r.Object["handler"], r.Old["handler"])
	}
	errs := check.Name(r.Object, check.DNSSubdomain)
	if handler == "" {
		errs = append(errs, field.Required(at, ""))
	} else {
		errs = append(errs, check.Invalid(at, handler, check.DNSLabel(handler))...)
	}
	if overhead := tree.In(r.Object, "overhead", "podFixed"); overhead != nil {
		errs = append(errs, podspec.ValidateResources(map[string]any{"limits": overhead}, field.NewPath("overhead"))...)
	}
	scheduling, at := tree.Map(r.Object, "scheduling"), field.NewPath("scheduling")
	if selector := tree.StringMap(scheduling, "nodeSelector"); selector != nil {
		errs = append(errs, metav1validation.ValidateLabels(selector, at.Child("nodeSelector"))...)
	}
	tolerations, at := tree.List(scheduling, "tolerations"), at.Child("tolerations")
	errs = append(errs, podspec.ValidateTolerations(tolerations, at)...)
	seen := map[string]bool{}
	for i, v := range tolerations {
		key := tolerationKey(tree.Object(v))
		if seen[key] {
			errs = append(errs, field.Duplicate(at.Index(i), v))
		}
		seen[key] = true
	}
	return errs
}

func tolerationKey(t map[string]any) string {
	var key strings.Builder
	for _, k := range slices.Sorted(maps.Keys(t)) {
		if k != "tolerationSeconds" {
			fmt.Fprintf(&key, "%s=%v\x00", k, t[k])
		}
	}
	return key.String()
}
