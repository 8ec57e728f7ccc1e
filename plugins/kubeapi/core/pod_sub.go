package core

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	runtimeschema "k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/check"
	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/tree"
	"github.com/pintle-dev/pintle/sdk/resource"
)

var (
	bindings    = runtimeschema.GroupResource{Resource: "pods/binding"}
	bindingKind = runtimeschema.GroupKind{Kind: "Binding"}
)

// CreateSubresource implements resource.Subresourcer.
func (p Pods) CreateSubresource(ctx context.Context, r *resource.Request, pod map[string]any) (resource.SubresourceResult, error) {
	switch r.Subresource {
	case "binding":
		if err := p.Admission.Binding(ctx, r); err != nil {
			return resource.SubresourceResult{}, err
		}
		return resource.SubresourceResult{}, bind(r, pod)
	case "eviction":
		return p.evict(ctx, r, pod)
	}
	return resource.SubresourceResult{}, apierrors.NewMethodNotSupported(
		runtimeschema.GroupResource{Resource: "pods/" + r.Subresource}, "create")
}

// bind gives a pod its node.
func bind(r *resource.Request, pod map[string]any) error {
	target := tree.Map(r.Object, "target")
	if errs := validateBinding(target); len(errs) > 0 {
		return apierrors.NewInvalid(bindingKind, r.Name, errs)
	}
	meta, spec := tree.Map(pod, "metadata"), tree.Ensure(pod, "spec")
	name := tree.Str(meta, "name")
	sent := tree.Map(r.Object, "metadata")
	if uid := tree.Str(sent, "uid"); uid != "" && uid != tree.Str(meta, "uid") {
		return apierrors.NewConflict(bindings, name, fmt.Errorf( //nolint:staticcheck // Kubernetes' words
			"Precondition failed: UID in precondition: %v, UID in object meta: %v", uid, tree.Str(meta, "uid")))
	}
	conflict := func(format string, args ...any) error {
		return apierrors.NewConflict(bindings, name, fmt.Errorf(format, args...))
	}
	switch node := tree.Str(spec, "nodeName"); {
	case tree.Str(meta, "deletionTimestamp") != "":
		return conflict("pod %s is being deleted, cannot be assigned to a host", name)
	case node != "":
		return conflict("pod %s is already assigned to node %q", name, node)
	case len(tree.List(spec, "schedulingGates")) > 0:
		return conflict("pod %s has non-empty .spec.schedulingGates", name)
	}
	spec["nodeName"] = tree.Str(target, "name")
	for _, key := range [...]string{"annotations", "labels"} {
		if add := tree.Map(sent, key); len(add) > 0 {
			have := tree.Ensure(meta, key)
			for k, v := range add {
				have[k] = v
			}
		}
	}
	status := tree.Ensure(pod, "status")
	delete(status, "nominatedNodeName")
	setCondition(status, "PodScheduled", "True")
	return nil
}

func validateBinding(target map[string]any) field.ErrorList {
	var errs field.ErrorList
	path := field.NewPath("target")
	if kind := tree.Str(target, "kind"); kind != "" && kind != "Node" {
		errs = append(errs, field.NotSupported(path.Child("kind"), kind, []string{"Node", "<empty>"}))
	}
	switch name := tree.Str(target, "name"); {
	case name == "":
		errs = append(errs, field.Required(path.Child("name"), ""))
	default:
		if messages := check.PathSegment(name); messages != nil {
			errs = append(errs, check.Invalid(path.Child("name"), name, messages)...)
		}
	}
	return errs
}

// setCondition sets a condition of a pod; the time of its last change moves with its
// status only.
func setCondition(status map[string]any, typ, value string) {
	condition := map[string]any{"type": typ, "status": value, "lastProbeTime": nil, "lastTransitionTime": now()}
	list := tree.List(status, "conditions")
	for i, v := range list {
		c := tree.Object(v)
		if tree.Str(c, "type") != typ {
			continue
		}
		if tree.Str(c, "status") == value {
			condition["lastTransitionTime"] = c["lastTransitionTime"]
		}
		list[i] = condition
		return
	}
	status["conditions"] = append(list, condition)
}
