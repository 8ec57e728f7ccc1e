package check

import (
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"
)

const maxDriverName = 63

// DriverName checks the name of a driver of volumes or devices.
func DriverName(name string, path *field.Path) field.ErrorList {
	if name == "" {
		return field.ErrorList{field.Required(path, "")}
	}
	var errs field.ErrorList
	if len(name) > maxDriverName {
		errs = append(errs, field.TooLong(path, "", maxDriverName))
	}
	return append(errs, Invalid(path, name, DNSSubdomain(strings.ToLower(name)))...)
}
