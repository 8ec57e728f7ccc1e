package customresources

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apiextensions-apiserver/pkg/apihelpers"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/pintle-dev/pintle/crd"
	"github.com/pintle-dev/pintle/crd/crdv1"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// Bundle offers customresourcedefinitions.apiextensions.k8s.io itself.
func Bundle() resource.Bundle { return bundle{} }

type bundle struct{}

// Definitions implements resource.Bundle.
func (bundle) Definitions() ([]*crd.Definition, error) {
	return []*crd.Definition{crdv1.Definition()}, nil
}

// Hooks implements resource.Bundle.
func (bundle) Hooks(gr schema.GroupResource) any {
	if gr == crdv1.Definition().GroupResource() {
		return hooks{}
	}
	return nil
}

// hooks default, prepare and validate definitions.
type hooks struct{}

var (
	_ resource.Defaulter = hooks{}
	_ resource.Preparer  = hooks{}
	_ resource.Validator = hooks{}
)

// Default implements resource.Defaulter.
func (hooks) Default(_ context.Context, r *resource.Request) error {
	return edit(r, crdv1.SetDefaults)
}

// Prepare implements resource.Preparer.
func (hooks) Prepare(_ context.Context, r *resource.Request) error {
	switch {
	case r.Subresource != "":
		return nil
	case r.Old == nil:
		return edit(r, crdv1.PrepareForCreate)
	}
	old, err := crdv1.Decode(r.Old)
	if err != nil {
		return fmt.Errorf("decode the stored definition: %w", err)
	}
	return edit(r, func(c *apiextensionsv1.CustomResourceDefinition) { crdv1.PrepareForUpdate(c, old) })
}

// Validate implements resource.Validator.
func (hooks) Validate(ctx context.Context, r *resource.Request) field.ErrorList {
	c, err := crdv1.Decode(r.Object)
	if err != nil {
		return field.ErrorList{field.Invalid(field.NewPath("spec"), "", err.Error())}
	}
	var old *apiextensionsv1.CustomResourceDefinition
	if r.Old != nil {
		if old, err = crdv1.Decode(r.Old); err != nil {
			return field.ErrorList{field.InternalError(nil, err)}
		}
	}
	if r.Subresource == "status" && old != nil {
		return crdv1.ValidateStatus(c, old)
	}
	errs := crdv1.Validate(ctx, c, old)
	if len(errs) == 0 {
		r.Warnings = append(r.Warnings, crdv1.Warnings(c, old)...)
	}
	return errs
}

// MarkDeleted implements apiserver.Marker: whoever deletes a definition sees that its objects
// go first.
func (hooks) MarkDeleted(object map[string]any, now time.Time) error {
	c, err := crdv1.Decode(object)
	if err != nil {
		return err
	}
	apihelpers.SetCRDCondition(c, apiextensionsv1.CustomResourceDefinitionCondition{
		Type: apiextensionsv1.Terminating, Status: apiextensionsv1.ConditionTrue, LastTransitionTime: metav1.NewTime(now), Reason: "InstanceDeletionPending",
		Message: "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon",
	})
	tree, err := crdv1.Encode(c)
	if err != nil {
		return err
	}
	object["status"] = tree["status"]
	return nil
}

// edit changes the request's object by way of its Go type. Metadata stays as it is.
func edit(r *resource.Request, f func(*apiextensionsv1.CustomResourceDefinition)) error {
	c, err := crdv1.Decode(r.Object)
	if err != nil {
		return apierrors.NewBadRequest(err.Error())
	}
	f(c)
	tree, err := crdv1.Encode(c)
	if err != nil {
		return err
	}
	for _, f := range [...]string{"spec", "status"} {
		if v, ok := tree[f]; ok {
			r.Object[f] = v
		} else {
			delete(r.Object, f)
		}
	}
	return nil
}
