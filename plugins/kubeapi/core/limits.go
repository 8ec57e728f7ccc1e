package core

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	apiresource "k8s.io/apimachinery/pkg/api/resource"
	runtimeschema "k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/tree"
	"github.com/pintle-dev/pintle/sdk/resource"
)

var limitRanges = runtimeschema.GroupResource{Resource: "limitranges"}

const limitsAnnotation = "kubernetes.io/limit-ranger"

// admitLimits gives a pod's containers the defaults of the namespace's limit ranges, and
// refuses pods that are not within them.
func admitLimits(ctx context.Context, r *resource.Request, spec map[string]any) error {
	if r.Reader == nil {
		return nil
	}
	ranges, err := r.Reader.List(ctx, limitRanges, r.Namespace)
	if err != nil {
		return fmt.Errorf("listing limit ranges: %w", err)
	}
	slices.SortFunc(ranges, func(a, b map[string]any) int {
		return strings.Compare(tree.Str(tree.Map(a, "metadata"), "name"), tree.Str(tree.Map(b, "metadata"), "name"))
	})
	var set []string
	var wrong []error
	each(ranges, "Container", func(l map[string]any) {
		set = append(set, defaultResources(spec, l)...)
	})
	if len(set) > 0 {
		annotations := tree.Ensure(tree.Ensure(r.Object, "metadata"), "annotations")
		annotations[limitsAnnotation] = "LimitRanger plugin set: " + strings.Join(set, "; ")
	}
	each(ranges, "Container", func(l map[string]any) {
		for _, list := range [...]string{"containers", "initContainers"} {
			for _, v := range tree.List(spec, list) {
				wrong = append(wrong, within(l, "Container", tree.Map(tree.Object(v), "resources"))...)
			}
		}
	})
	each(ranges, "Pod", func(l map[string]any) { wrong = append(wrong, within(l, "Pod", podTotals(spec))...) })
	if len(wrong) == 0 {
		return nil
	}
	texts := make([]string, len(wrong))
	for i, e := range wrong {
		texts[i] = e.Error()
	}
	text := texts[0]
	if len(texts) > 1 {
		text = "[" + strings.Join(texts, ", ") + "]"
	}
	return forbidden(r, "%s", text)
}

func each(ranges []map[string]any, typ string, f func(limit map[string]any)) {
	for _, lr := range ranges {
		for _, v := range tree.List(tree.Map(lr, "spec"), "limits") {
			if l := tree.Object(v); tree.Str(l, "type") == typ {
				f(l)
			}
		}
	}
}

// defaultResources sets what containers leave open and tells what it has set.
func defaultResources(spec, limit map[string]any) (set []string) {
	for _, list := range [...][2]string{{"containers", "container"}, {"initContainers", "init container"}} {
		for _, v := range tree.List(spec, list[0]) {
			c := tree.Object(v)
			if c == nil {
				continue
			}
			for _, d := range [...]struct{ from, to, word string }{
				{"defaultRequest", "requests", "request"}, {"default", "limits", "limit"},
			} {
				var keys []string
				for _, key := range slices.Sorted(maps.Keys(tree.Map(limit, d.from))) {
					to := tree.Ensure(tree.Ensure(c, "resources"), d.to)
					if _, ok := to[key]; !ok {
						to[key] = tree.Map(limit, d.from)[key]
						keys = append(keys, key)
					}
				}
				if len(keys) > 0 {
					set = append(set, fmt.Sprintf("%s %s for %s %s", strings.Join(keys, ", "), d.word, list[1], tree.Str(c, "name")))
				}
			}
		}
	}
	return set
}

// podTotals are the requests and limits of all containers together; an init container
// counts where it asks for more than these.
func podTotals(spec map[string]any) map[string]any {
	out := map[string]any{}
	for _, what := range [...]string{"requests", "limits"} {
		sum := map[string]apiresource.Quantity{}
		for _, v := range tree.List(spec, "containers") {
			for key, v := range tree.In(tree.Object(v), "resources", what) {
				if q, ok := amount(v); ok {
					total := sum[key]
					total.Add(q)
					sum[key] = total
				}
			}
		}
		for _, v := range tree.List(spec, "initContainers") {
			for key, v := range tree.In(tree.Object(v), "resources", what) {
				if q, ok := amount(v); ok && q.Cmp(sum[key]) > 0 {
					sum[key] = q
				}
			}
		}
		totals := map[string]any{}
		for key, q := range sum {
			totals[key] = q.String()
		}
		out[what] = totals
	}
	return out
}

// within tells how resources are not within a limit, in upstream's words.
func within(limit map[string]any, typ string, resources map[string]any) (wrong []error) {
	requests, limits := tree.Map(resources, "requests"), tree.Map(resources, "limits")
	for _, key := range slices.Sorted(maps.Keys(tree.Map(limit, "min"))) {
		least, _ := amount(tree.Map(limit, "min")[key])
		request, asked := amount(requests[key])
		most, limited := amount(limits[key])
		head := fmt.Sprintf("minimum %s usage per %s is %s", key, typ, least.String())
		switch {
		case !asked:
			wrong = append(wrong, fmt.Errorf("%s. No request is specified", head))
		case request.Cmp(least) < 0:
			wrong = append(wrong, fmt.Errorf("%s, but request is %s", head, request.String()))
		case limited && most.Cmp(least) < 0:
			wrong = append(wrong, fmt.Errorf("%s, but limit is %s", head, most.String()))
		}
	}
	for _, key := range slices.Sorted(maps.Keys(tree.Map(limit, "max"))) {
		bound, _ := amount(tree.Map(limit, "max")[key])
		request, asked := amount(requests[key])
		most, limited := amount(limits[key])
		head := fmt.Sprintf("maximum %s usage per %s is %s", key, typ, bound.String())
		switch {
		case !limited:
			wrong = append(wrong, fmt.Errorf("%s. No limit is specified", head))
		case most.Cmp(bound) > 0:
			wrong = append(wrong, fmt.Errorf("%s, but limit is %s", head, most.String()))
		case asked && request.Cmp(bound) > 0:
			wrong = append(wrong, fmt.Errorf("%s, but request is %s", head, request.String()))
		}
	}
	for _, key := range slices.Sorted(maps.Keys(tree.Map(limit, "maxLimitRequestRatio"))) {
		bound, _ := amount(tree.Map(limit, "maxLimitRequestRatio")[key])
		request, asked := amount(requests[key])
		most, limited := amount(limits[key])
		head := fmt.Sprintf("%s max limit to request ratio per %s is %s", key, typ, bound.String())
		switch {
		case !asked || request.Sign() == 0:
			wrong = append(wrong, fmt.Errorf("%s, but no request is specified or request is 0", head))
		case !limited:
			wrong = append(wrong, fmt.Errorf("%s, but no limit is specified or limit is 0", head))
		default:
			if ratio := most.AsApproximateFloat64() / request.AsApproximateFloat64(); ratio > bound.AsApproximateFloat64() {
				wrong = append(wrong, fmt.Errorf("%s, but provided ratio is %f", head, ratio))
			}
		}
	}
	return wrong
}
