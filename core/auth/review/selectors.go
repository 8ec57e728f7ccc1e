package review

import (
	"fmt"
	"strings"

	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// validateSelectors checks the selectors of a question about a resource. Operators that are
// not known are for newer clients and leave the question broader.
func validateSelectors(a *authorizationv1.ResourceAttributes, path *field.Path) field.ErrorList {
	if a == nil {
		return nil
	}
	var errs field.ErrorList
	form := func(path *field.Path, raw string, requirements int) {
		if raw != "" && requirements > 0 {
			errs = append(errs, field.Invalid(path.Child("rawSelector"), raw, "may not specified at the same time as requirements"))
		}
		if raw == "" && requirements == 0 {
			errs = append(errs, field.Required(path.Child("requirements"), fmt.Sprintf("when %s is specified, requirements or rawSelector is required", path)))
		}
	}
	if s, path := a.FieldSelector, path.Child("fieldSelector"); s != nil {
		form(path, s.RawSelector, len(s.Requirements))
		for i, r := range s.Requirements {
			errs = append(errs, metav1validation.ValidateFieldSelectorRequirement(r,
				metav1validation.FieldSelectorValidationOptions{AllowUnknownOperatorInRequirement: true}, path.Child("requirements").Index(i))...)
		}
	}
	if s, path := a.LabelSelector, path.Child("labelSelector"); s != nil {
		form(path, s.RawSelector, len(s.Requirements))
		for i, r := range s.Requirements {
			errs = append(errs, metav1validation.ValidateLabelSelectorRequirement(r,
				metav1validation.LabelSelectorValidationOptions{AllowUnknownOperatorInRequirement: true}, path.Child("requirements").Index(i))...)
		}
	}
	return errs
}

// fieldText is a selector as requests have it. ignored says what of it could not be used:
// nothing, a part or all.
func fieldText(s *authorizationv1.FieldSelectorAttributes) (text, ignored string) {
	if s == nil {
		return "", ""
	}
	if s.RawSelector != "" {
		if _, err := fields.ParseSelector(s.RawSelector); err != nil {
			return "", ignoredAll
		}
		return s.RawSelector, ""
	}
	var terms []fields.Selector
	for _, r := range s.Requirements {
		switch {
		case len(r.Values) != 1:
		case r.Operator == metav1.FieldSelectorOpIn:
			terms = append(terms, fields.OneTermEqualSelector(r.Key, r.Values[0]))
		case r.Operator == metav1.FieldSelectorOpNotIn:
			terms = append(terms, fields.OneTermNotEqualSelector(r.Key, r.Values[0]))
		}
	}
	return fields.AndSelectors(terms...).String(), loss(len(terms), len(s.Requirements))
}

var labelOperators = map[metav1.LabelSelectorOperator]selection.Operator{
	metav1.LabelSelectorOpIn: selection.In, metav1.LabelSelectorOpNotIn: selection.NotIn,
	metav1.LabelSelectorOpExists: selection.Exists, metav1.LabelSelectorOpDoesNotExist: selection.DoesNotExist,
}

// labelText is fieldText for labels.
func labelText(s *authorizationv1.LabelSelectorAttributes) (text, ignored string) {
	if s == nil {
		return "", ""
	}
	if s.RawSelector != "" {
		if _, err := labels.Parse(s.RawSelector); err != nil {
			return "", ignoredAll
		}
		return s.RawSelector, ""
	}
	var terms []string
	for _, r := range s.Requirements {
		op, ok := labelOperators[r.Operator]
		if !ok {
			continue
		}
		if req, err := labels.NewRequirement(r.Key, op, r.Values); err == nil {
			terms = append(terms, req.String())
		}
	}
	return strings.Join(terms, ","), loss(len(terms), len(s.Requirements))
}

const (
	ignoredAll  = "ignored due to parse error"
	ignoredPart = "partially ignored due to parse error"
)

func loss(used, of int) string {
	switch used {
	case of:
		return ""
	case 0:
		return ignoredAll
	}
	return ignoredPart
}
