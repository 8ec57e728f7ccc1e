package core

import (
	"context"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/check"
	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/tree"
	"github.com/pintle-dev/pintle/plugins/kubeapi/podspec"
	"github.com/pintle-dev/pintle/sdk/resource"
)

func defaultPodTemplate(r *resource.Request) {
	podspec.Default(tree.In(r.Object, "template", "spec"))
}

func validatePodTemplate(_ context.Context, r *resource.Request) field.ErrorList {
	errs := check.Name(r.Object, check.DNSSubdomain)
	return append(errs, podspec.ValidateTemplate(tree.Map(r.Object, "template"), field.NewPath("template"))...)
}

// defaultController takes selector and labels of a replication controller from its
// template.
func defaultController(r *resource.Request) {
	spec := tree.Map(r.Object, "spec")
	template := tree.Map(spec, "template")
	if set := tree.In(template, "metadata", "labels"); set != nil {
		if len(tree.Map(spec, "selector")) == 0 {
			spec["selector"] = tree.CopyMap(set)
		}
		if meta := tree.Map(r.Object, "metadata"); meta != nil && len(tree.Map(meta, "labels")) == 0 {
			meta["labels"] = tree.CopyMap(set)
		}
	}
	podspec.Default(tree.Map(template, "spec"))
}

func validateController(_ context.Context, r *resource.Request) field.ErrorList {
	errs := check.Name(r.Object, check.DNSSubdomain)
	spec, path := tree.Map(r.Object, "spec"), field.NewPath("spec")
	errs = append(errs, check.NonNegative(spec, path, "minReadySeconds", "replicas")...)
	selector := labels.Set(tree.StringMap(spec, "selector"))
	if len(selector) == 0 {
		errs = append(errs, field.Required(path.Child("selector"), ""))
	}
	template, at := tree.Map(spec, "template"), path.Child("template")
	if template == nil {
		return append(errs, field.Required(at, ""))
	}
	have := labels.Set(tree.StringMap(tree.Map(template, "metadata"), "labels"))
	if len(selector) > 0 && !selector.AsSelector().Matches(have) {
		errs = append(errs, field.Invalid(at.Child("metadata", "labels"), have, "`selector` does not match template `labels`"))
	}
	errs = append(errs, podspec.ValidateTemplate(template, at)...)
	return append(errs, podspec.AlwaysRestarts(template, at, "ReplicationController")...)
}
