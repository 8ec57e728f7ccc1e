package admission

import (
	"context"
	"fmt"

	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/tree"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// systemClasses exist in every cluster. They are known here too, for a server that has not
// written its first objects yet.
var systemClasses = map[string]int64{
	"system-node-critical":    2000001000,
	"system-cluster-critical": 2000000000,
}

func (p *Plugins) givePriority(ctx context.Context, r *resource.Request, spec map[string]any) error {
	if !p.on(priority) {
		return nil
	}
	name := tree.Str(spec, "priorityClassName")
	value, policy := int64(0), "PreemptLowerPriority"
	class, err := priorityClass(ctx, r, name)
	if err != nil {
		return err
	}
	switch system, ok := systemClasses[name]; {
	case class != nil:
		value = tree.Int0(class, "value")
		if p := tree.Str(class, "preemptionPolicy"); p != "" {
			policy = p
		}
		spec["priorityClassName"] = tree.Str(tree.Map(class, "metadata"), "name")
	case ok:
		value = system
	case name != "":
		return forbidden(r, "no PriorityClass with name %s was found", name)
	}
	if p, ok := tree.Int(spec, "priority"); ok && p != value {
		return forbidden(r, "the integer value of priority (%d) must not be provided in pod spec; priority admission controller computed %d from the given PriorityClass name", p, value)
	}
	spec["priority"] = value
	if p := tree.Str(spec, "preemptionPolicy"); p != "" && p != policy {
		return forbidden(r, "the string value of PreemptionPolicy (%s) must not be provided in pod spec; priority admission controller computed %s from the given PriorityClass name", p, policy)
	}
	spec["preemptionPolicy"] = policy
	return nil
}

// priorityClass returns the class of a name, or without one the class that is the default
// of the cluster.
func priorityClass(ctx context.Context, r *resource.Request, name string) (map[string]any, error) {
	if r.Reader == nil {
		return nil, nil
	}
	if name == "" {
		return defaultPriorityClass(ctx, r)
	}
	class, err := r.Reader.Get(ctx, priorityClasses, "", name)
	if err != nil {
		return nil, fmt.Errorf("reading priority class %s: %w", name, err)
	}
	return class, nil
}

// defaultPriorityClass returns the class that is the cluster's default, the lowest where
// there are several.
func defaultPriorityClass(ctx context.Context, r *resource.Request) (map[string]any, error) {
	classes, err := r.Reader.List(ctx, priorityClasses, "")
	if err != nil {
		return nil, fmt.Errorf("listing priority classes: %w", err)
	}
	var lowest map[string]any
	for _, c := range classes {
		if tree.Bool(c, "globalDefault") && (lowest == nil || tree.Int0(c, "value") < tree.Int0(lowest, "value")) {
			lowest = c
		}
	}
	return lowest, nil
}

// validatePriorityClass refuses a second default.
func (p *Plugins) validatePriorityClass(ctx context.Context, r *resource.Request) error {
	if !p.on(priority) || r.Reader == nil || r.Subresource != "" || r.Object == nil || !tree.Bool(r.Object, "globalDefault") {
		return nil
	}
	class, err := defaultPriorityClass(ctx, r)
	if err != nil {
		return fmt.Errorf("failed to get default priority class: %w", err)
	}
	name := tree.Str(tree.Map(class, "metadata"), "name")
	if class == nil || r.Operation == resource.Update && name == r.Name {
		return nil
	}
	return forbidden(r, "PriorityClass %v is already marked as default. Only one default can exist", name)
}
