package host

import (
	"context"
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/pintle-dev/pintle/sdk/resource"
)

// DependentsAnnotation of a Plugin object says what becomes of the plugins that require it when
// it is deleted or disabled. Without it, it can't be while there are such.
const DependentsAnnotation = Group + "/dependents"

// DependentsIgnore is the value of DependentsAnnotation that leaves them without what they
// require: they go on until they are started again, and wait for it then.
const DependentsIgnore = "Ignore"

// dependents are the plugins that require the named one, as the statuses of Plugin objects say.
// Those that are going, are disabled, or are required in turn don't count: of a cycle nothing
// runs.
func dependents(ctx context.Context, r resource.Reader, name string) ([]string, error) {
	if r == nil {
		return nil, nil
	}
	list, err := r.List(ctx, Resource().GroupResource(), "")
	if err != nil {
		return nil, fmt.Errorf("plugins that require %s: %w", name, err)
	}
	requires := map[string][]string{}
	for _, object := range list {
		plugin, _ := lookup(object, "spec", "plugin").(string)
		if plugin == "" {
			plugin, _ = lookup(object, "metadata", "name").(string)
		}
		off, _ := lookup(object, "spec", "disabled").(bool)
		if off || lookup(object, "metadata", "deletionTimestamp") != nil {
			continue
		}
		of, _ := lookup(object, "status", "requires").([]any)
		for _, item := range of {
			if q, ok := item.(map[string]any); ok {
				other, _ := q["plugin"].(string)
				requires[plugin] = append(requires[plugin], other)
			}
		}
	}
	required := map[string]bool{}
	var walk func(string)
	walk = func(at string) {
		for _, other := range requires[at] {
			if !required[other] {
				required[other] = true
				walk(other)
			}
		}
	}
	walk(name)
	var out []string
	for plugin, of := range requires {
		if slices.Contains(of, name) && !required[plugin] && plugin != name {
			out = append(out, plugin)
		}
	}
	slices.Sort(out)
	return out, nil
}

// left says what is wrong with taking a plugin from those that require it, nothing where there
// are none or where an object's annotation says so.
func left(ctx context.Context, r *resource.Request, object map[string]any, what string) (string, error) {
	if v, _ := lookup(object, "metadata", "annotations", DependentsAnnotation).(string); v == DependentsIgnore {
		return "", nil
	}
	names, err := dependents(ctx, r.Reader, r.Name)
	if err != nil || len(names) == 0 {
		return "", err
	}
	return fmt.Sprintf("%s %s it: %s %s first, or leave them without it by the annotation %s=%s",
		strings.Join(names, ", "), map[bool]string{true: "requires", false: "require"}[len(names) == 1],
		what, map[bool]string{true: "that", false: "those"}[len(names) == 1], DependentsAnnotation, DependentsIgnore), nil
}

// keepRequired refuses the deletion of a plugin that others require.
func keepRequired(ctx context.Context, r *resource.Request) error {
	why, err := left(ctx, r, r.Old, "remove")
	if err != nil || why == "" {
		return err
	}
	return apierrors.NewForbidden(Resource().GroupResource(), r.Name, fmt.Errorf("%s (`pintle plugin remove %s --force`)", why, r.Name))
}

// keepEnabled refuses to disable a plugin that others require.
func keepEnabled(ctx context.Context, r *resource.Request) field.ErrorList {
	before, _ := lookup(r.Old, "spec", "disabled").(bool)
	if off, _ := lookup(r.Object, "spec", "disabled").(bool); !off || before || r.Old == nil {
		return nil
	}
	at := field.NewPath("spec", "disabled")
	why, err := left(ctx, r, r.Object, "disable")
	switch {
	case err != nil:
		return field.ErrorList{field.InternalError(at, err)}
	case why != "":
		return field.ErrorList{field.Forbidden(at, why)}
	}
	return nil
}
