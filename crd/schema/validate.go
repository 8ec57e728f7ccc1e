package schema

import (
	"cmp"
	"reflect"
	"slices"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/util/validation/field"
	oerrors "k8s.io/kube-openapi/pkg/validation/errors"
)

// validator is one walk of Validate. Messages come from the library upstream uses for
// custom resources; only the walk is our own.
type validator struct {
	path []element
	errs field.ErrorList
	// ratchet is set in a second walk, that is made when the first has found errors and
	// there is an old object: errors in what did not change are dropped.
	ratchet bool
}

var validators = sync.Pool{New: func() any { return new(validator) }}

func (c *Compiled) validate(obj, old map[string]any) field.ErrorList {
	if c.root.typed && !c.root.checking {
		return nil
	}
	w := validators.Get().(*validator)
	defer func() {
		w.path, w.errs, w.ratchet = w.path[:0], nil, false
		validators.Put(w)
	}()
	w.value(c.root, obj, nil, false)
	if len(w.errs) == 0 {
		return nil
	}
	if old != nil && !c.root.typed {
		w.path, w.errs, w.ratchet = w.path[:0], nil, true
		w.value(c.root, obj, old, true)
	}
	return tidy(w.errs)
}

// tidy orders errors by field, so that answers do not vary, and drops repeated ones.
func tidy(errs field.ErrorList) field.ErrorList {
	slices.SortStableFunc(errs, func(a, b *field.Error) int { return cmp.Compare(a.Field, b.Field) })
	type id struct{ typ, field, detail string }
	seen := make(map[id]bool, len(errs))
	return slices.DeleteFunc(errs, func(e *field.Error) bool {
		k := id{string(e.Type), e.Field, e.Detail}
		if e.Type == field.ErrorTypeDuplicate {
			return false
		}
		again := seen[k]
		seen[k] = true
		return again
	})
}

// value checks a value and returns how many checks it met, by which the most fitting
// member of an anyOf or oneOf is chosen for messages. correlated says that old is the
// value's former state.
func (w *validator) value(n *node, v, old any, correlated bool) int {
	if n.typed && !n.checking {
		return 0
	}
	start := len(w.errs)
	met := w.check(n, v, old, correlated)
	if len(w.errs) > start && correlated && reflect.DeepEqual(v, old) {
		w.errs = w.errs[:start]
	}
	return met
}

func (w *validator) check(n *node, v, old any, correlated bool) int {
	c := n.checks
	if v == nil {
		return w.null(n)
	}
	met := 4
	if !n.typed && n.kind != kindAny {
		met++
		if w.kindOf(n, v) {
			met++
		}
	}
	if c != nil && (c.allOf != nil || c.anyOf != nil || c.oneOf != nil || c.not != nil) {
		met += w.junctors(c, v, old, correlated)
	}
	switch v := v.(type) {
	case string:
		met++
		if c != nil {
			met += w.text(n, c, v)
		}
	case int64:
		met += 2
		w.integer(n, c, v)
	case float64:
		met += 2
		w.float(n, c, v)
	case []any:
		met += 2 + w.array(n, v, old, correlated)
	case map[string]any:
		met += 1 + w.object(n, v, old, correlated)
	}
	if c != nil && c.enum != nil && !(n.typed && v == "") && !inEnum(c.enum, v) {
		w.fail(oerrors.EnumFail(w.name(), "body", v, c.enum))
	}
	return met
}

func (w *validator) null(n *node) int {
	if n.typed {
		return 0
	}
	met := 1
	if n.kind != kindAny && !n.nullable {
		w.fail(oerrors.InvalidType(w.name(), "body", n.typeName(), "null"))
		met = 0
	}
	if n.checks != nil && n.checks.enum != nil {
		w.fail(oerrors.EnumFail(w.name(), "body", nil, n.checks.enum))
	}
	return met
}

// kindOf checks a value's type.
func (w *validator) kindOf(n *node, v any) bool {
	var ok bool
	var got string
	format := n.format()
	switch v := v.(type) {
	case string:
		got, ok = "string", n.kind == kindString || n.kind == kindIntOrString
	case bool:
		got, ok = "boolean", n.kind == kindBoolean
	case int64:
		got, ok = "integer", n.kind == kindInteger || n.kind == kindNumber || n.kind == kindIntOrString
	case float64:
		got = "number"
		ok = n.kind == kindNumber || ((n.kind == kindInteger || n.kind == kindIntOrString) && isWhole(v))
	case []any:
		// Upstream takes a list for a string with a format.
		got, ok = "array", n.kind == kindArray || (n.kind == kindString && format != "")
	case map[string]any:
		got, ok = "object", n.kind == kindObject
	}
	if ok {
		return true
	}
	if format != "" && got != "string" && got != "array" {
		// Where a format is given, messages speak of formats.
		gotFormat := map[string]string{"integer": "int64", "number": "float64"}[got]
		w.fail(oerrors.InvalidType(w.name(), "body", format, gotFormat))
		return false
	}
	w.fail(oerrors.InvalidType(w.name(), "body", n.typeName(), got))
	return false
}

// format is the node's format, where it has one that is checked.
func (n *node) format() string {
	switch {
	case n.kind == kindInteger && n.bits == 32:
		return "int32"
	case n.kind == kindInteger && n.bits == 64:
		return "int64"
	case n.kind == kindNumber && n.bits == 32:
		return "float"
	case n.kind == kindNumber && n.bits == 64:
		return "double"
	case n.kind == kindString && n.checks != nil:
		return n.checks.format
	}
	return ""
}

func (n *node) typeName() string {
	switch n.kind {
	case kindObject:
		return "object"
	case kindArray:
		return "array"
	case kindInteger:
		return "integer"
	case kindNumber:
		return "number"
	case kindBoolean:
		return "boolean"
	case kindIntOrString:
		return "integer,string"
	}
	return "string"
}

func (w *validator) object(n *node, x map[string]any, old any, correlated bool) (met int) {
	was, _ := old.(map[string]any)
	correlated = correlated && was != nil
	if c := n.checks; c != nil {
		size := int64(len(x))
		if c.minProperties != nil && size < *c.minProperties {
			w.fail(oerrors.TooFewProperties(w.name(), "body", *c.minProperties, size))
		}
		if c.maxProperties != nil && size > *c.maxProperties {
			w.fail(oerrors.TooManyProperties(w.name(), "body", *c.maxProperties, size))
		}
	}
	if n.typed {
		for _, p := range n.checked {
			if v, ok := x[p.name]; ok {
				met += w.member(p.validating(), p.name, false, v, was, correlated)
			}
		}
		if n.values != nil && n.values.checking {
			for k, v := range x {
				if n.props[k] == nil {
					met += w.member(n.values, k, true, v, was, correlated)
				}
			}
		}
		return met
	}
	for k, v := range x {
		if p := n.props[k]; p != nil {
			met += w.member(p.validating(), k, false, v, was, correlated)
		} else if n.values != nil {
			met += w.member(n.values, k, true, v, was, correlated)
		}
	}
	if n.checks != nil {
		for _, k := range n.checks.required {
			if _, ok := x[k]; !ok {
				w.fail(oerrors.Required(w.name()+"."+k, "body"))
			}
		}
	}
	if n.embedded {
		w.embedded(x)
	}
	return met
}

func (w *validator) member(n *node, key string, isKey bool, v any, was map[string]any, correlated bool) int {
	if n.typed && !n.checking {
		return 0
	}
	var old any
	if correlated {
		old, correlated = was[key]
		if len(w.path) == 0 && (key == "apiVersion" || key == "kind") {
			correlated = false
		}
	}
	w.path = append(w.path, element{key: key, index: noIndex, isKey: isKey})
	met := w.value(n, v, old, correlated)
	w.path = w.path[:len(w.path)-1]
	return met
}

func (w *validator) array(n *node, x []any, old any, correlated bool) (met int) {
	if n.items != nil && (!n.typed || n.items.checking) {
		was, _ := old.([]any)
		correlated = correlated && n.listType == listMap
		for i, v := range x {
			var oldItem any
			found := false
			if correlated {
				oldItem, found = findByKeys(n, was, v)
			}
			w.path = append(w.path, element{index: i})
			met += w.value(n.items, v, oldItem, found)
			w.path = w.path[:len(w.path)-1]
		}
	}
	if c := n.checks; c != nil {
		size := int64(len(x))
		if c.minItems != nil && size < *c.minItems {
			w.fail(oerrors.TooFewItems(w.name(), "body", *c.minItems, size))
		}
		if c.maxItems != nil && size > *c.maxItems {
			w.fail(oerrors.TooManyItems(w.name(), "body", *c.maxItems, size))
		}
		if c.uniqueItems && hasEqualItems(x) {
			w.fail(oerrors.DuplicateItems(w.name(), "body"))
		}
	}
	if !n.typed {
		switch n.listType {
		case listSet:
			w.duplicates(x, x)
		case listMap:
			w.duplicateKeys(n, x)
		}
	}
	return met
}

// name is the path in the notation of OpenAPI messages: a key of a map is set off by a
// dot, also at the root.
func (w *validator) name() string {
	s := joinPath(w.path)
	if len(w.path) > 0 && w.path[0].isKey {
		return "." + s
	}
	return s
}

// fieldPath is the path in the notation of field errors: a key of a map is in brackets.
func (w *validator) fieldPath() *field.Path {
	var p *field.Path
	for _, e := range w.path {
		switch {
		case e.index != noIndex:
			p = p.Index(e.index)
		case e.isKey:
			p = p.Key(e.key)
		default:
			p = p.Child(e.key)
		}
	}
	return p
}

// fail adds an error, in the form in which kube-apiserver shows it.
func (w *validator) fail(e *oerrors.Validation) {
	var path *field.Path
	if name := strings.TrimPrefix(e.Name, "."); name != "" {
		path = field.NewPath(name)
	}
	value := e.Value
	if value == nil {
		value = ""
	}
	var out *field.Error
	switch e.Code() {
	case oerrors.RequiredFailCode:
		out = field.Required(path, "")
	case oerrors.EnumFailCode:
		out = field.NotSupported(path, e.Value, enumNames(e.Values))
	case oerrors.TooLongFailCode:
		out = field.TooLong(path, "", asInt(e.Valid))
	case oerrors.MaxItemsFailCode, oerrors.TooManyPropertiesCode:
		out = field.TooMany(path, asInt(e.Value), asInt(e.Valid))
	case oerrors.InvalidTypeCode:
		out = field.TypeInvalid(path, value, e.Error())
	default:
		out = field.Invalid(path, value, e.Error())
	}
	w.errs = append(w.errs, out)
}

// failWhole adds an error that upstream does not attribute to a field.
func (w *validator) failWhole(message string) {
	w.errs = append(w.errs, field.Invalid(nil, "", message))
}
