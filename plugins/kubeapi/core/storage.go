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
	if r.Operation == resource.Create && r.Subresource == "" {
		status := map[string]any{"phase": "Pending"}
		if r.Kind.Kind == "PersistentVolume" {
			status["lastPhaseTransitionTime"] = now()
		}
		r.Object["status"] = status
	}
	return nil
}

func validateVolume(_ context.Context, r *resource.Request) field.ErrorList {
	errs := check.Name(r.Object, check.DNSSubdomain)
	spec, path := tree.Map(r.Object, "spec"), field.NewPath("spec")
	if len(tree.List(spec, "accessModes")) == 0 {
		errs = append(errs, field.Required(path.Child("accessModes"), ""))
	}
	errs = append(errs, onceOnly(spec, path.Child("accessModes"))...)
	capacity := tree.Map(spec, "capacity")
	if len(capacity) == 0 {
		errs = append(errs, field.Required(path.Child("capacity"), ""))
	}
	if _, ok := capacity["storage"]; len(capacity) > 0 && (!ok || len(capacity) > 1) {
		errs = append(errs, field.NotSupported(path.Child("capacity"), capacity, []string{"storage"}))
	}
	sources := 0
	for key := range spec {
		switch key {
		case "accessModes", "capacity", "claimRef", "mountOptions", "nodeAffinity", "persistentVolumeReclaimPolicy",
			"storageClassName", "volumeAttributesClassName", "volumeMode":
			continue
		}
		if sources++; sources > 1 {
			errs = append(errs, field.Forbidden(path.Child(key), "may not specify more than 1 volume type"))
		}
	}
	if sources == 0 {
		errs = append(errs, field.Required(path, "must specify a volume type"))
	}
	if h := tree.Map(spec, "hostPath"); h != nil {
		at := path.Child("hostPath", "path")
		if p := tree.Str(h, "path"); p == "" {
			errs = append(errs, field.Required(at, ""))
		} else {
			errs = append(errs, check.NoBacksteps(at, p)...)
			if p == "/" && tree.Str(spec, "persistentVolumeReclaimPolicy") == "Recycle" {
				errs = append(errs, field.Forbidden(path.Child("persistentVolumeReclaimPolicy"), "may not be 'recycle' for a hostPath mount of '/'"))
			}
		}
	}
	if c := tree.Str(spec, "storageClassName"); c != "" {
		errs = append(errs, check.Invalid(path.Child("storageClassName"), c, check.DNSSubdomain(c))...)
	}
	if r.Operation == resource.Update && r.Subresource == "" {
		was := tree.Map(r.Old, "spec")
		errs = append(errs, check.Unchanged(path.Child("volumeMode"), spec["volumeMode"], was["volumeMode"])...)
	}
	return errs
}

func onceOnly(spec map[string]any, path *field.Path) field.ErrorList {
	modes := tree.Strings(spec, "accessModes")
	for _, m := range modes {
		if m == "ReadWriteOncePod" && len(modes) > 1 {
			return field.ErrorList{field.Forbidden(path, "may not use ReadWriteOncePod with other access modes")}
		}
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
	}
	return errs
}

// ValidateClaimSpec checks the spec of a claim, or of a claim template.
func ValidateClaimSpec(spec map[string]any, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if len(tree.List(spec, "accessModes")) == 0 {
		errs = append(errs, field.Required(path.Child("accessModes"), "at least 1 access mode is required"))
	}
	errs = append(errs, onceOnly(spec, path.Child("accessModes"))...)
	errs = append(errs, check.Selector(tree.Map(spec, "selector"), path.Child("selector"))...)
	request := tree.Str(tree.In(spec, "resources", "requests"), "storage")
	switch at := path.Child("resources").Key("storage"); {
	case request == "":
		errs = append(errs, field.Required(at, ""))
	case request == "0" || request[0] == '-':
		errs = append(errs, field.Invalid(path.Child("resources").Child("requests").Key("storage"), request, "must be greater than zero"))
	}
	if c := tree.Str(spec, "storageClassName"); c != "" {
		errs = append(errs, check.Invalid(path.Child("storageClassName"), c, check.DNSSubdomain(c))...)
	}
	return errs
}
