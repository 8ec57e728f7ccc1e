package schema

import (
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"unicode/utf8"

	oerrors "k8s.io/kube-openapi/pkg/validation/errors"
	"k8s.io/kube-openapi/pkg/validation/strfmt"
	"k8s.io/kube-openapi/pkg/validation/validate"
)

// text checks a string; of length and pattern only the first failure is told.
func (w *validator) text(n *node, c *checks, s string) (met int) {
	if n.typed && s == "" {
		return 0 // absent, in terms of Go values
	}
	switch {
	case c.maxLength != nil && int64(utf8.RuneCountInString(s)) > *c.maxLength:
		w.fail(oerrors.TooLong(w.name(), "body", *c.maxLength, s))
	case c.minLength != nil && int64(utf8.RuneCountInString(s)) < *c.minLength:
		w.fail(oerrors.TooShort(w.name(), "body", *c.minLength, s))
	case c.pattern != nil:
		re, err := c.pattern.compile()
		if err != nil {
			w.fail(oerrors.FailedPattern(w.name(), "body", fmt.Sprintf("%s, but pattern is invalid: %s", c.pattern.source, err), s))
		} else if !re.MatchString(s) {
			w.fail(oerrors.FailedPattern(w.name(), "body", c.pattern.source, s))
		}
	}
	if c.format != "" {
		met = 1
		if !strfmt.Default.Validates(c.format, s) {
			w.fail(oerrors.InvalidType(w.name(), "body", c.format, s))
		}
	}
	return met
}

func (w *validator) integer(n *node, c *checks, v int64) {
	if n.bits == 32 && n.kind == kindInteger && v != int64(int32(v)) {
		w.failWhole("Checked value must be of type integer with format int32 in " + w.name())
	}
	if c == nil {
		return
	}
	if c.multipleOf != nil {
		if *c.multipleOf == math.Trunc(*c.multipleOf) {
			w.failIf(validate.MultipleOfInt(w.name(), "body", v, int64(*c.multipleOf)))
		} else {
			w.failIf(validate.MultipleOf(w.name(), "body", float64(v), *c.multipleOf))
		}
	}
	if m := c.minimum; m != nil && (float64(v) < *m || (c.exclusiveMin && float64(v) == *m)) {
		if *m == math.Trunc(*m) {
			w.failIf(validate.MinimumInt(w.name(), "body", v, int64(*m), c.exclusiveMin))
		} else {
			w.failIf(validate.Minimum(w.name(), "body", float64(v), *m, c.exclusiveMin))
		}
	}
	if m := c.maximum; m != nil && (float64(v) > *m || (c.exclusiveMax && float64(v) == *m)) {
		if *m == math.Trunc(*m) {
			w.failIf(validate.MaximumInt(w.name(), "body", v, int64(*m), c.exclusiveMax))
		} else {
			w.failIf(validate.Maximum(w.name(), "body", float64(v), *m, c.exclusiveMax))
		}
	}
}

func (w *validator) float(n *node, c *checks, v float64) {
	if n.kind == kindInteger || (n.kind == kindNumber && n.bits == 32) {
		if err := validate.IsValueValidAgainstRange(v, n.typeName(), n.format(), "Checked", w.name()); err != nil {
			w.failWhole(err.Error())
		}
	}
	if c == nil {
		return
	}
	if c.multipleOf != nil {
		w.failIf(validate.MultipleOf(w.name(), "body", v, *c.multipleOf))
	}
	if c.minimum != nil {
		w.failIf(validate.Minimum(w.name(), "body", v, *c.minimum, c.exclusiveMin))
	}
	if c.maximum != nil {
		w.failIf(validate.Maximum(w.name(), "body", v, *c.maximum, c.exclusiveMax))
	}
}

func (w *validator) failIf(e *oerrors.Validation) {
	if e != nil {
		w.fail(e)
	}
}

// junctors checks anyOf, oneOf, allOf and not, and returns how many checks were met.
func (w *validator) junctors(c *checks, v, old any, correlated bool) (met int) {
	// try checks one member and returns its errors apart.
	try := func(n *node) (int, []int) {
		start := len(w.errs)
		m := w.check(n, v, old, correlated)
		return m, []int{start, len(w.errs)}
	}
	if c.anyOf != nil {
		met += w.anyOf(c.anyOf, try)
	}
	if c.oneOf != nil {
		met += w.oneOf(c.oneOf, try)
	}
	if c.allOf != nil {
		valid := 0
		for _, n := range c.allOf {
			m, span := try(n)
			met += m
			if span[0] == span[1] {
				valid++
			}
		}
		if valid != len(c.allOf) {
			none := ""
			if valid == 0 {
				none = ". None validated"
			}
			w.failWhole(fmt.Sprintf(validate.MustValidateAllSchemasError, w.name(), none))
		}
	}
	if c.not != nil {
		_, span := try(c.not)
		w.errs = w.errs[:span[0]]
		if span[0] == span[1] {
			w.failWhole(fmt.Sprintf(validate.MustNotValidateSchemaError, w.name()))
		}
	}
	return met
}

func (w *validator) anyOf(members []*node, try func(*node) (int, []int)) int {
	start, best, bestMet := len(w.errs), w.errs[:0:0], -1
	for _, n := range members {
		m, span := try(n)
		failures := w.errs[span[0]:span[1]]
		if len(failures) == 0 {
			w.errs = w.errs[:start]
			return m
		}
		if m > bestMet {
			best, bestMet = append(best[:0:0], failures...), m
		}
		w.errs = w.errs[:start]
	}
	w.failWhole(fmt.Sprintf(validate.MustValidateAtLeastOneSchemaError, w.name()))
	w.errs = append(w.errs, best...)
	return bestMet
}

func (w *validator) oneOf(members []*node, try func(*node) (int, []int)) int {
	start, best, bestMet := len(w.errs), w.errs[:0:0], -1
	valid, firstMet := 0, 0
	for _, n := range members {
		m, span := try(n)
		failures := w.errs[span[0]:span[1]]
		switch {
		case len(failures) == 0:
			if valid == 0 {
				firstMet = m
			}
			valid++
		case valid == 0 && m > bestMet:
			best, bestMet = append(best[:0:0], failures...), m
		}
		w.errs = w.errs[:start]
	}
	if valid == 1 {
		return firstMet
	}
	found := "Found none valid"
	if valid > 1 {
		found = fmt.Sprintf("Found %d valid alternatives", valid)
	}
	w.failWhole(fmt.Sprintf(validate.MustValidateOnlyOneSchemaError, w.name(), found))
	if valid > 0 {
		return 0
	}
	w.errs = append(w.errs, best...)
	return bestMet
}

func inEnum(enum []any, v any) bool {
	for _, e := range enum {
		if e == nil {
			continue
		}
		if s, ok := v.(string); ok {
			if t, ok := e.(string); ok && s == t {
				return true
			}
			continue
		}
		if a, ok := asFloat(v); ok {
			if b, ok := asFloat(e); ok && a == b {
				return true
			}
			continue
		}
		if reflect.DeepEqual(v, e) {
			return true
		}
	}
	return false
}

func enumNames(values []any) []string {
	names := []string{}
	for _, v := range values {
		if s, ok := v.(string); ok {
			names = append(names, s)
			continue
		}
		b, err := json.Marshal(v)
		if err != nil {
			b = fmt.Append(nil, v)
		}
		names = append(names, string(b))
	}
	return names
}

func asFloat(v any) (float64, bool) {
	switch v := v.(type) {
	case int64:
		return float64(v), true
	case float64:
		return v, true
	}
	return 0, false
}

func asInt(v any) int {
	if i, ok := v.(int64); ok {
		return int(i)
	}
	return -1
}

func isWhole(f float64) bool { return f == math.Trunc(f) && !math.IsInf(f, 0) }
