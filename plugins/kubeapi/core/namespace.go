package core

import (
	"context"
	"slices"

	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/check"
	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/hook"
	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/tree"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// namespaceFinalizer keeps a namespace until its contents are gone.
const namespaceFinalizer = "kubernetes"

// namespaces is the hooks of namespaces.
type namespaces struct{ hook.Kind }

// defaultNamespace labels a namespace with its name, and gives one that is marked deleted
// its phase.
func defaultNamespace(r *resource.Request) {
	meta := tree.Map(r.Object, "metadata")
	if name := tree.Str(meta, "name"); name != "" {
		tree.Ensure(meta, "labels")["kubernetes.io/metadata.name"] = name
	}
	status := tree.Ensure(r.Object, "status")
	if tree.Str(meta, "deletionTimestamp") != "" {
		status["phase"] = "Terminating"
	} else if tree.Str(status, "phase") == "" {
		status["phase"] = "Active"
	}
}

func prepareNamespace(_ context.Context, r *resource.Request) error {
	switch {
	case r.Operation == resource.Create:
		spec := tree.Ensure(r.Object, "spec")
		if !slices.Contains(tree.Strings(spec, "finalizers"), namespaceFinalizer) {
			spec["finalizers"] = append(tree.List(spec, "finalizers"), namespaceFinalizer)
		}
		r.Object["status"] = map[string]any{"phase": "Active"}
	case r.Subresource == "finalize":
		keepOnly(r, func(spec, sent map[string]any) { set(spec, "finalizers", sent["finalizers"]) })
	case r.Subresource == "":
		// Finalizers go through their own subresource.
		set(tree.Ensure(r.Object, "spec"), "finalizers", tree.In(r.Old, "spec")["finalizers"])
	}
	return nil
}

func validateNamespace(_ context.Context, r *resource.Request) field.ErrorList {
	errs := check.Name(r.Object, check.DNSLabel)
	path := field.NewPath("spec", "finalizers")
	for i, f := range tree.Strings(tree.Map(r.Object, "spec"), "finalizers") {
		at := path
		if r.Subresource == "finalize" {
			at = path.Index(i)
		}
		errs = append(errs, finalizer(f, at)...)
	}
	if r.Subresource == "status" {
		phase := tree.Str(tree.Map(r.Object, "status"), "phase")
		deleted := tree.Str(tree.Map(r.Object, "metadata"), "deletionTimestamp") != ""
		at := field.NewPath("status", "Phase")
		switch {
		case !deleted && phase != "Active":
			errs = append(errs, field.Invalid(at, phase, "may only be 'Active' if `deletionTimestamp` is empty"))
		case deleted && phase != "Terminating":
			errs = append(errs, field.Invalid(at, phase, "may only be 'Terminating' if `deletionTimestamp` is not empty"))
		}
	}
	return errs
}

func finalizer(name string, path *field.Path) field.ErrorList {
	errs := check.Invalid(path, name, validation.IsQualifiedName(name))
	if !slices.Contains([]string{namespaceFinalizer, "orphan", "foregroundDeletion"}, name) && !slices.Contains([]byte(name), '/') {
		errs = append(errs, field.Invalid(path, name, "name is neither a standard finalizer name nor is it fully qualified"))
	}
	return errs
}
