package crd

import (
	"fmt"
	"math"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Validate checks that the fields which a custom resource's scale is made of can be one.
// A schema can't be relied on for it: it need not name them.
func (s *Scale) Validate(object map[string]any) field.ErrorList {
	if s == nil {
		return nil
	}
	var errs field.ErrorList
	for _, path := range []string{s.SpecReplicasPath, s.StatusReplicasPath} {
		n, _, err := unstructured.NestedInt64(object, steps(path)...)
		at := field.NewPath(path)
		switch {
		case err != nil:
			errs = append(errs, field.Invalid(at, n, err.Error()))
		case n < 0:
			errs = append(errs, field.Invalid(at, n, "should be a non-negative integer"))
		case n > math.MaxInt32:
			errs = append(errs, field.Invalid(at, n, fmt.Sprintf("should be less than or equal to %v", math.MaxInt32)))
		}
	}
	if s.LabelSelectorPath != "" {
		if text, _, err := unstructured.NestedString(object, steps(s.LabelSelectorPath)...); err != nil {
			errs = append(errs, field.Invalid(field.NewPath(s.LabelSelectorPath), text, err.Error()))
		}
	}
	return errs
}

func steps(path string) []string { return strings.Split(strings.TrimPrefix(path, "."), ".") }
