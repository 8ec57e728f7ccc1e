package devices

import (
	"fmt"

	resourcev1 "k8s.io/api/resource/v1"
	apiresource "k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// maxValidValues is how many amounts of a capacity may be offered one by one.
const maxValidValues = 10

// requestPolicy checks which amounts of a capacity may be asked for.
func requestPolicy(p *resourcev1.CapacityRequestPolicy, capacity apiresource.Quantity, path *field.Path) field.ErrorList {
	switch {
	case len(p.ValidValues) > 0 && p.ValidRange != nil:
		return field.ErrorList{field.Forbidden(path, `exactly one policy can be specified, cannot specify "validValues" and "validRange" at the same time`)}
	case len(p.ValidValues) > 0 && p.Default == nil:
		return field.ErrorList{field.Required(path.Child("default"), "required when validValues is defined")}
	case len(p.ValidValues) > 0:
		return validValues(p.ValidValues, *p.Default, capacity, path.Child("validValues"))
	case p.ValidRange != nil && p.Default == nil:
		return field.ErrorList{field.Required(path.Child("default"), "required when validRange is defined")}
	case p.ValidRange != nil:
		return validRange(p.ValidRange, *p.Default, capacity, path.Child("validRange"))
	}
	return nil
}

func validValues(values []apiresource.Quantity, standard, capacity apiresource.Quantity, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i := 1; i < len(values); i++ {
		if values[i-1].Cmp(values[i]) > 0 {
			errs = append(errs, field.Invalid(path.Index(i), values[i].String(), "values must be sorted in ascending order"))
		}
	}
	found := false
	errs = append(errs, set(values, maxValidValues, path, func(q *apiresource.Quantity) int64 { return q.Value() },
		func(q *apiresource.Quantity, path *field.Path) field.ErrorList {
			found = found || q.Cmp(standard) == 0
			if q.Cmp(capacity) > 0 {
				return field.ErrorList{field.Invalid(path, q.String(), "option is larger than capacity value: "+capacity.String())}
			}
			return nil
		})...)
	if !found {
		errs = append(errs, field.Invalid(path, standard.String(), "default value is not valid according to the requestPolicy"))
	}
	return errs
}

func validRange(r *resourcev1.CapacityRequestPolicyRange, standard, capacity apiresource.Quantity, path *field.Path) field.ErrorList {
	low := path.Child("min")
	if r.Min == nil {
		return field.ErrorList{field.Required(low, "required when validRange is defined")}
	}
	var errs field.ErrorList
	wrong := func(at *field.Path, value *apiresource.Quantity, what string, than *apiresource.Quantity) {
		errs = append(errs, field.Invalid(at, value.String(), what+": "+than.String()))
	}
	if r.Min.Cmp(capacity) > 0 {
		wrong(low, r.Min, "min is larger than capacity value", &capacity)
	}
	if standard.Cmp(*r.Min) < 0 {
		wrong(low, &standard, "default is less than min", r.Min)
	}
	if high := path.Child("max"); r.Max != nil {
		if r.Min.Cmp(*r.Max) > 0 {
			wrong(high, r.Min, "min is larger than max", r.Max)
		}
		if r.Max.Cmp(capacity) > 0 {
			wrong(high, r.Max, "max is larger than capacity value", &capacity)
		}
		if standard.Cmp(*r.Max) > 0 {
			wrong(high, &standard, "default is more than max", r.Max)
		}
	}
	if r.Step == nil {
		return errs
	}
	at := path.Child("step")
	once := r.Min.DeepCopy()
	once.Add(*r.Step)
	if once.Cmp(capacity) > 0 {
		errs = append(errs, field.Invalid(at, r.Step.String(), fmt.Sprintf("one step %s is larger than capacity value: %s", once.String(), capacity.String())))
	}
	for _, q := range [...]*apiresource.Quantity{&standard, r.Max} {
		// A step of less than one unit counts as none.
		if step := r.Step.Value(); q != nil && step != 0 && (q.Value()-r.Min.Value())%step != 0 {
			errs = append(errs, field.Invalid(at, q.String(), fmt.Sprintf("value is not a multiple of a given step (%s) from (%s)", r.Step.String(), r.Min.String())))
		}
	}
	return errs
}
