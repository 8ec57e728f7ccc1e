package main

import (
	"context"
	"fmt"
	"reflect"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/pintle-dev/pintle/sdk/resource"
)

// hooks are what tickets do beside their data.
type hooks struct{}

var (
	_ resource.Defaulter    = hooks{}
	_ resource.Validator    = hooks{}
	_ resource.Converter    = hooks{}
	_ resource.Subresourcer = hooks{}
)

// Default implements resource.Defaulter: a ticket is for who asks for it. A schema has no way to
// say that.
func (hooks) Default(_ context.Context, r *resource.Request) error {
	if r.Operation != resource.Create {
		return nil
	}
	spec, ok := r.Object["spec"].(map[string]any)
	if ok && spec["holder"] == nil {
		spec["holder"] = r.User.Name
	}
	return nil
}

// Validate implements resource.Validator. Hooks get an object in the version in which its client
// wrote it; what this rule looks at is in all of them.
func (hooks) Validate(_ context.Context, r *resource.Request) field.ErrorList {
	if r.Operation != resource.Update || r.Subresource != "" {
		return nil
	}
	if redeemed(r.Old) && !reflect.DeepEqual(r.Old["spec"], r.Object["spec"]) {
		return field.ErrorList{field.Forbidden(field.NewPath("spec"), "the ticket was redeemed")}
	}
	return nil
}

// redeem is the subresource: a POST to …/tickets/NAME/redeem, with a Redemption in its body.
const redeem = "redeem"

// CreateSubresource implements resource.Subresourcer. The ticket that it changes is written if it
// is still as it was; where two redeem one at the same time, one of them is refused.
func (hooks) CreateSubresource(_ context.Context, r *resource.Request, ticket map[string]any) (resource.SubresourceResult, error) {
	if r.Subresource != redeem {
		return resource.SubresourceResult{}, fmt.Errorf("tickets have no %s", r.Subresource)
	}
	gate, _, err := unstructured.NestedString(r.Object, "gate")
	if err != nil || gate == "" {
		return resource.SubresourceResult{}, apierrors.NewBadRequest("gate: which one it is redeemed at is required")
	}
	if redeemed(ticket) {
		at, _, _ := unstructured.NestedString(ticket, "status", "gate")
		return resource.SubresourceResult{}, apierrors.NewConflict(
			schema.GroupResource{Group: group, Resource: "tickets"}, r.Name, fmt.Errorf("it was redeemed at gate %s", at))
	}
	ticket["status"] = map[string]any{"redeemed": true, "gate": gate}
	return resource.SubresourceResult{Response: map[string]any{
		"apiVersion": group + "/v1", "kind": "Redemption", "gate": gate, "holder": holder(ticket),
	}}, nil
}

func redeemed(ticket map[string]any) bool {
	done, _, _ := unstructured.NestedBool(ticket, "status", "redeemed")
	return done
}

func holder(ticket map[string]any) string {
	name, _, _ := unstructured.NestedString(ticket, "spec", "holder")
	return name
}
