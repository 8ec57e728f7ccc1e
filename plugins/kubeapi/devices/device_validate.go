package devices

import (
	"fmt"
	"maps"
	"regexp"
	"slices"

	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func device(d *resourcev1.Device, path *field.Path) field.ErrorList {
	errs := label(d.Name, path.Child("name"))
	if n := len(d.Attributes) + len(d.Capacity); n > resourcev1.ResourceSliceMaxAttributesAndCapacitiesPerDevice {
		errs = append(errs, field.Invalid(path, n, fmt.Sprintf("the total number of attributes and capacities must not exceed %d", resourcev1.ResourceSliceMaxAttributesAndCapacitiesPerDevice)))
	}
	at := path.Child("attributes")
	for _, name := range slices.Sorted(maps.Keys(d.Attributes)) {
		a := d.Attributes[name]
		errs = append(errs, qualified(string(name), at)...)
		errs = append(errs, attribute(&a, at.Key(string(name)))...)
	}
	at = path.Child("capacity")
	shared := d.AllowMultipleAllocations != nil && *d.AllowMultipleAllocations
	for _, name := range slices.Sorted(maps.Keys(d.Capacity)) {
		c := d.Capacity[name]
		errs = append(errs, qualified(string(name), at)...)
		switch policy := at.Key(string(name)).Child("requestPolicy"); {
		case c.RequestPolicy == nil:
		case shared:
			errs = append(errs, requestPolicy(c.RequestPolicy, c.Value, policy)...)
		default:
			errs = append(errs, field.Forbidden(policy, "allowMultipleAllocations must be true"))
		}
	}
	errs = append(errs, each(d.Taints, resourcev1.DeviceTaintsMaxLength, path.Child("taints"), taint)...)
	errs = append(errs, set(d.ConsumesCounters, resourcev1.ResourceSliceMaxDeviceCounterConsumptionsPerDevice, path.Child("consumesCounters"),
		func(c *resourcev1.DeviceCounterConsumption) string { return c.CounterSet },
		func(c *resourcev1.DeviceCounterConsumption, path *field.Path) field.ErrorList {
			errs := required(c.CounterSet, path.Child("counterSet"), label)
			return append(errs, counters(c.Counters, resourcev1.ResourceSliceMaxCountersPerDeviceCounterConsumption, path.Child("counters"))...)
		})...)
	return append(errs, bindingConditions(d.BindingConditions, d.BindingFailureConditions, path)...)
}

func counters(m map[string]resourcev1.Counter, most int, path *field.Path) field.ErrorList {
	if len(m) == 0 {
		return field.ErrorList{field.Required(path, "")}
	}
	if len(m) > most {
		return field.ErrorList{field.TooMany(path, len(m), most)}
	}
	var errs field.ErrorList
	for _, name := range slices.Sorted(maps.Keys(m)) {
		errs = append(errs, label(name, path)...)
	}
	return errs
}

// semver is a version by semver.org 2.0.0.
var semver = regexp.MustCompile(`^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)` +
	`(-(0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)(\.(0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*))*)?` +
	`(\+[0-9a-zA-Z-]+(\.[0-9a-zA-Z-]+)*)?$`)

func attribute(a *resourcev1.DeviceAttribute, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	values := 0
	for _, there := range [...]bool{a.BoolValue != nil, a.IntValue != nil, a.StringValue != nil, a.VersionValue != nil} {
		if there {
			values++
		}
	}
	long := func(s string, at *field.Path) {
		if len(s) > resourcev1.DeviceAttributeMaxValueLength {
			errs = append(errs, field.TooLong(at, "", resourcev1.DeviceAttributeMaxValueLength))
		}
	}
	if s := a.StringValue; s != nil {
		long(*s, path.Child("string"))
	}
	if v := a.VersionValue; v != nil {
		if !semver.MatchString(*v) {
			errs = append(errs, field.Invalid(path.Child("version"), *v, "must be a string compatible with semver.org spec 2.0.0"))
		}
		long(*v, path.Child("version"))
	}
	switch {
	case values == 0:
		errs = append(errs, field.Invalid(path, "", "exactly one value must be specified"))
	case values > 1:
		errs = append(errs, field.Invalid(path, a, "exactly one value must be specified"))
	}
	return errs
}
