package core

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/pintle-dev/pintle/plugins/kubeapi/admission"
	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/check"
	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/tree"
	"github.com/pintle-dev/pintle/plugins/kubeapi/podspec"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// Pods is the hooks of pods.
type Pods struct {
	// Writer keeps the accounts of disruption budgets; nil keeps none.
	Writer resource.Writer
	// Admission changes pods when they are written; nil does what its defaults do.
	Admission *admission.Plugins
}

var (
	_ resource.Defaulter    = Pods{}
	_ resource.Admitter     = Pods{}
	_ resource.Preparer     = Pods{}
	_ resource.Validator    = Pods{}
	_ resource.Deleter      = Pods{}
	_ resource.Subresourcer = Pods{}
	_ resource.Printer      = Pods{}
)

// Default implements resource.Defaulter.
func (Pods) Default(_ context.Context, r *resource.Request) error {
	if spec := tree.Map(r.Object, "spec"); spec != nil {
		podspec.DefaultPod(spec)
	}
	if status := tree.Map(r.Object, "status"); len(status) > 0 {
		defaultAddresses(status, "podIP", "podIPs")
		defaultAddresses(status, "hostIP", "hostIPs")
	}
	return nil
}

// defaultAddresses keeps the old field for one address and the new one for several alike.
func defaultAddresses(status map[string]any, one, several string) {
	ip, list := tree.Str(status, one), tree.List(status, several)
	switch {
	case ip != "" && len(list) == 0:
		status[several] = []any{map[string]any{"ip": ip}}
	case ip == "" && len(list) > 0:
		status[one] = tree.Str(tree.Object(list[0]), "ip")
	case ip != "" && tree.Str(tree.Object(list[0]), "ip") != ip:
		status[several] = []any{map[string]any{"ip": ip}}
	}
}

// Admit implements resource.Admitter.
func (p Pods) Admit(ctx context.Context, r *resource.Request) error {
	spec := tree.Map(r.Object, "spec")
	switch {
	case spec == nil || r.Subresource != "":
		return nil
	case r.Operation == resource.Create:
		return p.Admission.Pod(ctx, r, spec)
	}
	return p.Admission.PodUpdate(ctx, r, spec)
}

// Prepare implements resource.Preparer.
func (Pods) Prepare(_ context.Context, r *resource.Request) error {
	spec := tree.Map(r.Object, "spec")
	if spec == nil {
		return nil
	}
	if r.Operation == resource.Create {
		prepareStatus(r.Object, spec) // admission may have set what its class comes from
		return nil
	}
	switch r.Subresource {
	case "ephemeralcontainers":
		keepOnly(r, func(spec, sent map[string]any) { spec["ephemeralContainers"] = sent["ephemeralContainers"] })
	case "resize":
		keepOnly(r, resize)
	case "status":
		// The kubelet of another version may not know the class; it never changes.
		status := tree.Ensure(r.Object, "status")
		if tree.Str(status, "qosClass") == "" {
			if class := tree.Str(tree.Map(r.Old, "status"), "qosClass"); class != "" {
				status["qosClass"] = class
			}
		}
	}
	return nil
}

// prepareStatus gives a new pod its status; what the client says of it is dropped.
func prepareStatus(pod, spec map[string]any) {
	status := map[string]any{"phase": "Pending", "qosClass": podspec.QOSClass(spec)}
	if len(tree.List(spec, "schedulingGates")) > 0 {
		status["conditions"] = []any{map[string]any{
			"type": "PodScheduled", "status": "False", "reason": "SchedulingGated",
			"message":       "Scheduling is blocked due to non-empty scheduling gates",
			"lastProbeTime": nil, "lastTransitionTime": now(),
		}}
	}
	pod["status"] = status
}

// keepOnly makes the object of a subresource write the old pod with one part changed.
func keepOnly(r *resource.Request, change func(spec, sent map[string]any)) {
	sent := tree.Map(r.Object, "spec")
	meta := r.Object["metadata"]
	pod := tree.CopyMap(r.Old)
	change(tree.Ensure(pod, "spec"), sent)
	clear(r.Object)
	for k, v := range pod {
		r.Object[k] = v
	}
	// managedFields and resourceVersion of the write itself stay the server's business.
	if m := tree.Object(meta); m != nil {
		old := tree.Map(pod, "metadata")
		for _, key := range [...]string{"resourceVersion", "managedFields"} {
			if v, ok := m[key]; ok {
				old[key] = v
			}
		}
	}
}

// resize takes over what may be resized: the resources of containers and their policies.
func resize(spec, sent map[string]any) {
	for _, list := range [...]string{"containers", "initContainers"} {
		byName := map[string]map[string]any{}
		for _, v := range tree.List(sent, list) {
			c := tree.Object(v)
			byName[tree.Str(c, "name")] = c
		}
		for _, v := range tree.List(spec, list) {
			c := tree.Object(v)
			s, ok := byName[tree.Str(c, "name")]
			if !ok {
				continue
			}
			for _, key := range [...]string{"resources", "resizePolicy"} {
				if value, ok := s[key]; ok {
					c[key] = value
				}
			}
		}
	}
}

// Validate implements resource.Validator.
func (Pods) Validate(_ context.Context, r *resource.Request) field.ErrorList {
	if r.Object == nil {
		return nil
	}
	if r.Operation == resource.Create {
		return validatePodCreate(r.Object)
	}
	switch r.Subresource {
	case "status":
		return validatePodStatus(r.Object, r.Old)
	case "ephemeralcontainers":
		return validateEphemeral(r.Object, r.Old)
	case "resize":
		return validateResize(r.Object, r.Old)
	}
	return validatePodUpdate(r.Object, r.Old)
}

func validatePodCreate(pod map[string]any) field.ErrorList {
	errs := validatePod(pod)
	spec := tree.Map(pod, "spec")
	path := field.NewPath("spec")
	if len(tree.List(spec, "ephemeralContainers")) > 0 {
		errs = append(errs, field.Forbidden(path.Child("ephemeralContainers"), "cannot be set on create"))
	}
	if tree.Str(spec, "nodeName") != "" && len(tree.List(spec, "schedulingGates")) > 0 {
		errs = append(errs, field.Forbidden(path.Child("nodeName"), "cannot be set until all schedulingGates have been cleared"))
	}
	return errs
}

// validatePod checks what must hold of every pod.
func validatePod(pod map[string]any) field.ErrorList {
	errs := check.Name(pod, check.DNSSubdomain)
	spec := tree.Map(pod, "spec")
	path := field.NewPath("spec")
	errs = append(errs, podspec.Validate(spec, path, true)...)
	if tree.Str(spec, "serviceAccountName") == "" {
		for i, v := range tree.List(spec, "volumes") {
			for j, s := range tree.List(tree.Map(tree.Object(v), "projected"), "sources") {
				if tree.Map(tree.Object(s), "serviceAccountToken") != nil {
					errs = append(errs, field.Forbidden(
						path.Child("volumes").Index(i).Child("projected", "sources").Index(j).Child("serviceAccountToken"),
						"must not be specified when serviceAccountName is not set"))
				}
			}
		}
	}
	return errs
}

// GracePeriod implements resource.Deleter. A pod that runs nowhere, or no longer, goes at
// once; others stay until their node has stopped them and deletes them with no grace.
func (Pods) GracePeriod(_ context.Context, r *resource.Request, asked *int64) (int64, error) {
	spec := tree.Map(r.Old, "spec")
	if tree.Str(spec, "nodeName") == "" {
		return 0, nil
	}
	switch tree.Str(tree.Map(r.Old, "status"), "phase") {
	case "Failed", "Succeeded":
		return 0, nil
	}
	const defaultGrace = 30
	grace := int64(defaultGrace)
	if asked != nil {
		grace = *asked
	} else if g, ok := tree.Int(spec, "terminationGracePeriodSeconds"); ok {
		grace = g
	}
	if grace < 0 {
		grace = 1
	}
	return grace, nil
}

func now() string { return time.Now().UTC().Format(time.RFC3339) }
