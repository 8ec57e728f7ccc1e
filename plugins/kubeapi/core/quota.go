package core

import (
	"fmt"

	apiresource "k8s.io/apimachinery/pkg/api/resource"
	runtimeschema "k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/tree"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// budgets are what evictions have to ask.
var budgets = runtimeschema.GroupResource{Group: "policy", Resource: "poddisruptionbudgets"}

func amount(v any) (apiresource.Quantity, bool) {
	if v == nil {
		return apiresource.Quantity{}, false
	}
	q, err := apiresource.ParseQuantity(fmt.Sprint(v))
	return q, err == nil
}

// defaultLimitRange fills the defaults of container limits from each other: the limit
// from the most, the request from the limit, else from the least.
func defaultLimitRange(r *resource.Request) {
	for _, v := range tree.List(tree.Map(r.Object, "spec"), "limits") {
		l := tree.Object(v)
		if tree.Str(l, "type") != "Container" {
			continue
		}
		limits, requests := tree.Ensure(l, "default"), tree.Ensure(l, "defaultRequest")
		for key, q := range tree.Map(l, "max") {
			tree.SetDefault(limits, key, q)
		}
		for key, q := range limits {
			tree.SetDefault(requests, key, q)
		}
		for key, q := range tree.Map(l, "min") {
			tree.SetDefault(requests, key, q)
		}
		for _, key := range [...]string{"default", "defaultRequest"} {
			if len(tree.Map(l, key)) == 0 {
				delete(l, key)
			}
		}
	}
}

// ordered checks that the least is not more than the most, with the defaults between.
func ordered(l map[string]any, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	for _, c := range [...]struct {
		small, large string // fields
		blame        string // the field whose path is named
		value        string // the field whose value is shown
		format       string
	}{
		{"min", "max", "min", "min", "min value %s is greater than max value %s"},
		{"min", "defaultRequest", "defaultRequest", "defaultRequest", "min value %s is greater than default request value %s"},
		{"defaultRequest", "max", "defaultRequest", "defaultRequest", "default request value %s is greater than max value %s"},
		{"defaultRequest", "default", "defaultRequest", "defaultRequest", "default request value %s is greater than default limit value %s"},
		{"min", "default", "default", "min", "min value %s is greater than default value %s"},
		{"default", "max", "default", "max", "default value %s is greater than max value %s"},
	} {
		small, large := tree.Map(l, c.small), tree.Map(l, c.large)
		for key := range small {
			a, okA := amount(small[key])
			b, okB := amount(large[key])
			if !okA || !okB || a.Cmp(b) <= 0 {
				continue
			}
			shown, _ := amount(tree.Map(l, c.value)[key])
			errs = append(errs, field.Invalid(at.Child(c.blame).Key(key), shown, fmt.Sprintf(c.format, a.String(), b.String())))
		}
	}
	return errs
}
