package core

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/check"
	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/tree"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// The longest texts of events that have an eventTime.
const (
	maxInstance = 128
	maxAction   = 128
	maxReason   = 128
	maxMessage  = 1024
)

func validateEvent(_ context.Context, r *resource.Request) field.ErrorList {
	o := r.Object
	namespace := tree.Str(tree.Map(o, "metadata"), "namespace")
	involved := tree.Str(tree.Map(o, "involvedObject"), "namespace")
	mismatch := field.Invalid(field.NewPath("involvedObject", "namespace"), involved, "does not match event.namespace")
	var errs field.ErrorList
	if tree.Str(o, "eventTime") == "" {
		if involved == "" && namespace != "" && namespace != "default" || involved != "" && involved != namespace {
			errs = append(errs, mismatch)
		}
		return errs
	}
	if involved == "" && namespace != "default" && namespace != "kube-system" {
		errs = append(errs, mismatch)
	}
	controller := tree.Str(o, "reportingComponent")
	at := field.NewPath("reportingComponent")
	if controller == "" {
		errs = append(errs, field.Required(at, ""))
	}
	errs = append(errs, check.Invalid(at, controller, validation.IsQualifiedName(controller))...)
	for _, f := range [...]struct {
		key      string
		max      int
		required bool
	}{{"reportingInstance", maxInstance, true}, {"action", maxAction, true}, {"reason", maxReason, true}, {"message", maxMessage, false}} {
		s := tree.Str(o, f.key)
		if s == "" && f.required {
			errs = append(errs, field.Required(field.NewPath(f.key), ""))
		}
		if len(s) > f.max {
			errs = append(errs, field.Invalid(field.NewPath(f.key), "", fmt.Sprintf("can have at most %d characters", f.max)))
		}
	}
	return errs
}
