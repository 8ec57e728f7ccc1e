package others

import (
	"fmt"
	"strings"

	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/show"
	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/tree"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// busy is the share of CPU, in percent, that an autoscaler aims at where it is not told.
const busy = 80

func defaultAutoscaler(r *resource.Request) {
	spec := tree.Map(r.Object, "spec")
	if spec == nil {
		return
	}
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
