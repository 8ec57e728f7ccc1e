package admission

import (
	"context"
	"fmt"

	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/tree"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// classOf returns the runtime class of a pod, nil where it names none.
func classOf(ctx context.Context, r *resource.Request, spec map[string]any) (map[string]any, error) {
	name, named := spec["runtimeClassName"].(string)
	if !named || r.Reader == nil {
		return nil, nil
	}
	class, err := r.Reader.Get(ctx, runtimeClasses, "", name)
	if err != nil {
		return nil, fmt.Errorf("reading runtime class %s: %w", name, err)
	}
	if class == nil {
		return nil, forbidden(r, "pod rejected: RuntimeClass %q not found", name)
	}
	return class, nil
}

// applyRuntimeClass gives a pod the overhead and the scheduling of its runtime class.
func (p *Plugins) applyRuntimeClass(ctx context.Context, r *resource.Request, spec map[string]any) error {
	if !p.on(runtimeClass) {
		return nil
	}
	class, err := classOf(ctx, r, spec)
	if err != nil || class == nil {
		return err
	}
	if tree.Map(class, "overhead") != nil {
		overhead := tree.In(class, "overhead", "podFixed")
		if have := tree.Map(spec, "overhead"); len(have) > 0 && !sameAmounts(have, overhead) {
			return forbidden(r, "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead")
		}
		if len(overhead) > 0 {
			spec["overhead"] = tree.CopyMap(overhead)
		}
	}
	scheduling := tree.Map(class, "scheduling")
	for k, v := range tree.Map(scheduling, "nodeSelector") {
		selector := tree.Ensure(spec, "nodeSelector")
		if have, ok := selector[k]; ok && have != v {
			return forbidden(r, "conflict: runtimeClass.scheduling.nodeSelector[%s] = %v; pod.spec.nodeSelector[%s] = %v", k, v, k, have)
		}
		selector[k] = v
	}
	for _, t := range tree.List(scheduling, "tolerations") {
		if !has(tree.List(spec, "tolerations"), t) {
			spec["tolerations"] = append(tree.List(spec, "tolerations"), tree.Copy(t))
		}
	}
	return nil
}

func has(list []any, v any) bool {
	for _, have := range list {
		if tree.Equal(have, v) {
			return true
		}
	}
	return false
}

// checkOverhead refuses an overhead that is not the runtime class's.
func (p *Plugins) checkOverhead(ctx context.Context, r *resource.Request) error {
	if !p.on(runtimeClass) {
		return nil
	}
	spec := tree.Map(r.Object, "spec")
	class, err := classOf(ctx, r, spec)
	if err != nil {
		return err
	}
	overhead := tree.Map(spec, "overhead")
	if tree.Map(class, "overhead") == nil {
		if overhead != nil {
			return forbidden(r, "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead")
		}
		return nil
	}
	if !sameAmounts(overhead, tree.In(class, "overhead", "podFixed")) {
		return forbidden(r, "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead")
	}
	return nil
}
