package check

import (
	"regexp"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"
)

var percent = regexp.MustCompile(`^[0-9]+%$`)

// IntOrPercent checks a number that is not negative, or a percentage.
func IntOrPercent(v any, path *field.Path) field.ErrorList {
	switch v := v.(type) {
	case nil:
		return nil
	case int64:
		if v < 0 {
			return field.ErrorList{field.Invalid(path, v, NotNegative)}
		}
	case string:
		if !percent.MatchString(v) {
			return field.ErrorList{field.Invalid(path, v, "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')")}
		}
	default:
		return field.ErrorList{field.Invalid(path, v, "must be an integer or percentage (e.g '5%%')")}
	}
	return nil
}

// NotOverAll checks that a percentage is not more than 100.
func NotOverAll(v any, path *field.Path) field.ErrorList {
	s, ok := v.(string)
	if !ok || !percent.MatchString(s) {
		return nil
	}
	if n, err := strconv.Atoi(strings.TrimSuffix(s, "%")); err != nil || n > 100 {
		return field.ErrorList{field.Invalid(path, s, "must not be greater than 100%")}
	}
	return nil
}
