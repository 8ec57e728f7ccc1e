package main

import (
	"context"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"

	v1 "github.com/pintle-dev/pintle/cmd/pintle/internal/scaffold/projects/resource/api/v1"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// hooks take part in each write of a Gizmo, for what markers can't say. They may also
// implement resource.Defaulter, Preparer, Deleter and more.
type hooks struct{}

var _ resource.Validator = hooks{}

// Validate implements resource.Validator. The schema has been checked by then; r.Old is the
// object before the write, nil for a new one.
func (hooks) Validate(_ context.Context, r *resource.Request) field.ErrorList {
	var g, old v1.Gizmo
	spec := field.NewPath("spec")
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(r.Object, &g); err != nil {
		return field.ErrorList{field.InternalError(nil, err)}
	}
	if r.Old == nil {
		return nil
	}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(r.Old, &old); err != nil {
		return field.ErrorList{field.InternalError(nil, err)}
	}
	if g.Spec.Size < old.Spec.Size {
		return field.ErrorList{field.Forbidden(spec.Child("size"), "may not become smaller")}
	}
	return nil
}
