package others

import (
	"context"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/check"
	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/show"
	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/tree"
	"github.com/pintle-dev/pintle/sdk/resource"
)

func defaultAutoscaler(r *resource.Request) {
	spec := tree.Map(r.Object, "spec")
	if spec == nil {
		return
	}
	const busy = 80
	if len(tree.List(spec, "metrics")) == 0 {
		spec["metrics"] = []any{map[string]any{"type": "Resource", "resource": map[string]any{
			"name": "cpu", "target": map[string]any{"type": "Utilization", "averageUtilization": int64(busy)},
		}}}
	}
	behavior := tree.Map(spec, "behavior")
	if behavior == nil {
		return
	}
	const period = 15
	policy := func(typ string, value int64) map[string]any {
		return map[string]any{"type": typ, "value": value, "periodSeconds": int64(period)}
	}
	up := tree.Ensure(behavior, "scaleUp")
	tree.SetDefault(up, "stabilizationWindowSeconds", int64(0))
	tree.SetDefault(up, "selectPolicy", "Max")
	tree.SetDefault(up, "policies", []any{policy("Pods", 4), policy("Percent", 100)})
	down := tree.Ensure(behavior, "scaleDown")
	tree.SetDefault(down, "selectPolicy", "Max")
	tree.SetDefault(down, "policies", []any{policy("Percent", 100)})
}

func validateAutoscaler(_ context.Context, r *resource.Request) field.ErrorList {
	errs := check.Name(r.Object, check.DNSSubdomain)
	if r.Subresource != "" {
		return errs
	}
	spec, path := tree.Map(r.Object, "spec"), field.NewPath("spec")
	least, most := tree.Int0(spec, "minReplicas"), tree.Int0(spec, "maxReplicas")
	if spec["minReplicas"] != nil && least < 1 {
		errs = append(errs, field.Invalid(path.Child("minReplicas"), least, "must be greater than or equal to 1"))
	}
	if most < 1 {
		errs = append(errs, field.Invalid(path.Child("maxReplicas"), most, "must be greater than 0"))
	}
	if most < least {
		errs = append(errs, field.Invalid(path.Child("maxReplicas"), most, "must be greater than or equal to `minReplicas`"))
	}
	target, at := tree.Map(spec, "scaleTargetRef"), path.Child("scaleTargetRef")
	for _, key := range [...]string{"kind", "name"} {
		if s := tree.Str(target, key); s == "" {
			errs = append(errs, field.Required(at.Child(key), ""))
		} else {
			errs = append(errs, check.Invalid(at.Child(key), s, check.PathSegment(s))...)
		}
	}
	for i, v := range tree.List(spec, "metrics") {
		m, at := tree.Object(v), path.Child("metrics").Index(i)
		typ := tree.Str(m, "type")
		if typ == "" {
			errs = append(errs, field.Required(at.Child("type"), "must specify a metric source type"))
			continue
		}
		key := strings.ToLower(typ[:1]) + typ[1:]
		if tree.Map(m, key) == nil {
			errs = append(errs, field.Required(at.Child(key), "must populate information for the given metric source"))
		}
	}
	return errs
}

func printAutoscaler(o map[string]any) []any {
	spec, status := tree.Map(o, "spec"), tree.Map(o, "status")
	target := tree.Map(spec, "scaleTargetRef")
	least := show.Unset
	if n, ok := tree.Int(spec, "minReplicas"); ok {
		least = itoa(n)
	}
	return []any{
		tree.Str(target, "kind") + "/" + tree.Str(target, "name"),
		metrics(tree.List(spec, "metrics"), tree.List(status, "currentMetrics")),
		least, tree.Int0(spec, "maxReplicas"), tree.Int0(status, "currentReplicas"), show.Age(o),
	}
}

func metrics(specs, statuses []any) string {
	if len(specs) == 0 {
		return show.None
	}
	var words []string
	for i, v := range specs {
		var status map[string]any
		if i < len(statuses) {
			status = tree.Object(statuses[i])
		}
		words = append(words, metric(tree.Object(v), status))
	}
	const most = 2
	if len(words) > most {
		return fmt.Sprintf("%s + %d more...", strings.Join(words[:most], ", "), len(words)-most)
	}
	return strings.Join(words, ", ")
}

// metric shows what a metric is and what it should be.
func metric(m, status map[string]any) string {
	typ := tree.Str(m, "type")
	if typ == "" {
		return "<unknown type>"
	}
	key := strings.ToLower(typ[:1]) + typ[1:]
	source := tree.Map(m, key)
	target, current := tree.Map(source, "target"), tree.In(status, key, "current")
	average := tree.Str(target, "averageValue")
	switch typ {
	case "Resource", "ContainerResource":
		name := tree.Str(source, "name")
		if average != "" {
			return fmt.Sprintf("%s: %s/%s", name, show.Or(tree.Str(current, "averageValue"), show.Unknown), average)
		}
		return fmt.Sprintf("%s: %s/%s", name, percent(current, show.Unknown), percent(target, "<auto>"))
	case "Pods":
		return show.Or(tree.Str(current, "averageValue"), show.Unknown) + "/" + average
	default:
		if average != "" {
			return show.Or(tree.Str(current, "averageValue"), show.Unknown) + "/" + average + " (avg)"
		}
		return show.Or(tree.Str(current, "value"), show.Unknown) + "/" + tree.Str(target, "value")
	}
}

func percent(m map[string]any, other string) string {
	if n, ok := tree.Int(m, "averageUtilization"); ok {
		return itoa(n) + "%"
	}
	return other
}
