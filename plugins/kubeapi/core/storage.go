package core

import (
	"context"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/check"
	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/tree"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// preparePhase gives new volumes and claims their first phase.
func preparePhase(_ context.Context, r *resource.Request) error {
	if r.Kind.Kind == "PersistentVolumeClaim" && r.Subresource == "" && r.Operation != resource.Delete {
		prepareSource(r)
	}
	if r.Operation == resource.Create && r.Subresource == "" {
		status := map[string]any{"phase": "Pending"}
		if r.Kind.Kind == "PersistentVolume" {
			status["lastPhaseTransitionTime"] = now()
		}
		r.Object["status"] = status
	}
	return nil
}

func validateClaim(_ context.Context, r *resource.Request) field.ErrorList {
	errs := check.Name(r.Object, check.DNSSubdomain)
	spec, path := tree.Map(r.Object, "spec"), field.NewPath("spec")
	errs = append(errs, ValidateClaimSpec(spec, path)...)
	if r.Operation == resource.Update && r.Subresource == "" {
		was := tree.Map(r.Old, "spec")
		now, before := tree.CopyMap(spec), tree.CopyMap(was)
		for _, m := range []map[string]any{now, before} {
			delete(m, "resources")
			delete(m, "volumeAttributesClassName")
		}
		if tree.Str(before, "volumeName") == "" {
			delete(now, "volumeName")
			delete(before, "volumeName")
		}
		if before["storageClassName"] == nil {
			delete(now, "storageClassName")
		}
		if !tree.Equal(now, before) {
			errs = append(errs, field.Forbidden(path,
				"spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims\n"+difference(now, before)))
		}
		errs = append(errs, check.Unchanged(field.NewPath("volumeMode"), spec["volumeMode"], was["volumeMode"])...)
	}
	return errs
}

// ValidateClaimSpec checks the spec of a claim, or of a claim template.
func ValidateClaimSpec(spec map[string]any, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	errs = append(errs, checkModes(spec, path.Child("accessModes"), "at least 1 access mode is required")...)
	errs = append(errs, check.Selector(tree.Map(spec, "selector"), path.Child("selector"))...)
	at := path.Child("resources").Key("storage")
	if request := tree.In(spec, "resources", "requests")["storage"]; request == nil {
		errs = append(errs, field.Required(at, ""))
	} else {
		errs = append(errs, positiveAmount(request, at)...)
	}
	errs = append(errs, className(spec, "storageClassName", path)...)
	errs = append(errs, claimSource(spec, path)...)
	return append(errs, className(spec, "volumeAttributesClassName", path)...)
}
