package main

import (
	"context"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// seatAnnotation keeps what v1beta1 has no field for, so that who reads and writes that version
// does not take it away.
const seatAnnotation = group + "/seat"

// Convert implements resource.Converter. In v1beta1 a price is one string, "12.50 EUR", and
// there are no seats.
func (hooks) Convert(_ context.Context, ticket map[string]any, to string) error {
	u := &unstructured.Unstructured{Object: ticket}
	spec, ok := ticket["spec"].(map[string]any)
	if !ok {
		return nil // the schema will say so
	}
	annotations := u.GetAnnotations()
	switch to {
	case "v1":
		text, _ := spec["price"].(string)
		amount, currency, ok := strings.Cut(text, " ")
		if !ok {
			return fmt.Errorf("spec.price: %q is not an amount and a currency", text)
		}
		spec["price"] = map[string]any{"amount": amount, "currency": currency}
		if seat, has := annotations[seatAnnotation]; has {
			spec["seat"] = seat
			delete(annotations, seatAnnotation)
		}
	case "v1beta1":
		amount, _, _ := unstructured.NestedString(spec, "price", "amount")
		currency, _, _ := unstructured.NestedString(spec, "price", "currency")
		spec["price"] = amount + " " + currency
		if seat, has := spec["seat"].(string); has {
			if annotations == nil {
				annotations = map[string]string{}
			}
			annotations[seatAnnotation] = seat
			delete(spec, "seat")
		}
	default:
		return fmt.Errorf("there is no version %s", to)
	}
	u.SetAnnotations(annotations)
	return nil
}
