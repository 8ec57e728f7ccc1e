package schema

import (
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
)

// typedScalar decodes values of the types that have a decoder of their own upstream:
// quantities, times, bytes and IntOrString.
func (w *normalizer) typedScalar(n *node, v any) (r any, changed bool) {
	s, isString := v.(string)
	switch n.kind {
	case kindIntOrString:
		if isString {
			return nil, false
		}
		if i, ok := v.(int64); ok {
			if i == int64(int32(i)) {
				return nil, false
			}
			w.mismatchNumber(int32Node, strconv.FormatInt(i, 10))
			return nil, false
		}
		if f, ok := v.(float64); ok {
			w.mismatchNumber(int32Node, formatFloat(f))
			return nil, false
		}
		w.mismatch(int32Node, v)
	case kindQuantity:
		switch v := v.(type) {
		case string:
			s = v
		case int64:
			s = strconv.FormatInt(v, 10)
		case float64:
			s = formatFloat(v)
		default:
			w.fail(resource.ErrFormatWrong.Error())
			return nil, false
		}
		if isString && isCanonicalQuantity(s) {
			return nil, false
		}
		q, err := resource.ParseQuantity(s)
		if err != nil {
			w.fail(err.Error())
			return nil, false
		}
		return q.String(), true
	case kindTime, kindMicroTime, kindDateTime:
		if !isString {
			w.mismatch(stringNode, v)
			return nil, false
		}
		return w.time(n.kind, s)
	case kindBytes:
		if !isString {
			w.mismatch(n, v)
			return nil, false
		}
		if _, err := base64.StdEncoding.DecodeString(s); err != nil {
			w.fail(err.Error())
		}
	}
	return nil, false
}

var (
	int32Node  = &node{kind: kindInteger, bits: 32}
	stringNode = &node{kind: kindString}
)

const (
	timeLayout      = time.RFC3339
	microTimeLayout = "2006-01-02T15:04:05.000000Z07:00"
)

func (w *normalizer) time(k kind, s string) (r any, changed bool) {
	if k == kindTime && isCanonicalTime(s) {
		return nil, false
	}
	layout := timeLayout
	if k == kindMicroTime {
		layout = microTimeLayout
	}
	t, err := time.Parse(layout, s)
	if err != nil && k == kindMicroTime {
		// Upstream's MicroTime takes any fraction of a second.
		if p, perr := time.Parse(timeLayout, s); perr == nil {
			t, err = p, nil
		}
	}
	if err != nil {
		w.fail(err.Error())
		return nil, false
	}
	if k == kindDateTime {
		return nil, false
	}
	out := t.UTC().Format(layout)
	return out, out != s
}

// isCanonicalTime reports whether s is a time as it is stored, such as
// 2026-01-31T10:20:30Z. Days are not checked against their month beyond 28.
func isCanonicalTime(s string) bool {
	const form = "dddd-dd-ddTdd:dd:ddZ"
	if len(s) != len(form) {
		return false
	}
	for i := range len(form) {
		c := s[i]
		if form[i] == 'd' {
			if c < '0' || c > '9' {
				return false
			}
		} else if c != form[i] {
			return false
		}
	}
	two := func(i int) int { return int(s[i]-'0')*10 + int(s[i+1]-'0') }
	month, day := two(5), two(8)
	return month >= 1 && month <= 12 && day >= 1 && day <= 28 && two(11) < 24 && two(14) < 60 && two(17) < 60
}

// isCanonicalQuantity recognizes, without parsing, most quantities that are in canonical
// form already: whole numbers without or with one of the usual suffixes, that no larger
// suffix fits.
func isCanonicalQuantity(s string) bool {
	digits := 0
	for digits < len(s) && s[digits] >= '0' && s[digits] <= '9' {
		digits++
	}
	if digits == 0 || digits > 15 || (s[0] == '0' && len(s) > 1) {
		return false
	}
	switch s[digits:] {
	case "", "m", "k", "M", "G", "T":
		return !strings.HasSuffix(s[:digits], "000")
	case "Ki", "Mi", "Gi", "Ti":
		n, err := strconv.ParseUint(s[:digits], 10, 64)
		return err == nil && n%1024 != 0
	}
	return false
}

// fail keeps the first error: upstream's decoder stops there.
func (w *normalizer) fail(message string) {
	if w.err == nil {
		w.err = &DecodeError{Path: joinPath(w.path), Message: message}
	}
}

func (w *normalizer) mismatch(n *node, v any) {
	var got string
	switch v.(type) {
	case string:
		got = "string"
	case bool:
		got = "bool"
	case int64, float64:
		got = "number"
	case []any:
		got = "array"
	default:
		got = "object"
	}
	w.mismatchValue(n, got)
}

func (w *normalizer) mismatchNumber(n *node, text string) { w.mismatchValue(n, "number "+text) }

func (w *normalizer) mismatchValue(n *node, got string) {
	if w.err != nil {
		return
	}
	owner, fields := w.place()
	if len(fields) == 0 {
		w.fail(fmt.Sprintf("json: cannot unmarshal %s into Go value of type %s", got, goType(n)))
		return
	}
	w.fail(fmt.Sprintf("json: cannot unmarshal %s into Go struct field %s.%s of type %s", got, owner, strings.Join(fields, "."), goType(n)))
}

// place says where the present value is in the decoder's words: the name of the innermost
// Go type around it, and the fields that lead to it, without indices and keys of maps,
// from what is decoded as a Go value: a built-in object, or the metadata of a custom one.
func (w *normalizer) place() (owner string, fields []string) {
	owner = w.compiled.options.Kind
	n := w.compiled.root
	for _, e := range w.path {
		if n == nil {
			break
		}
		if n.name != "" {
			owner = n.name[strings.LastIndexByte(n.name, '.')+1:]
		}
		if n.typed && e.index == noIndex && !e.isKey {
			fields = append(fields, e.key)
		}
		p := n.props[e.key]
		switch {
		case e.index != noIndex:
			n = n.items
		case p != nil:
			n = p.node
		default:
			n = n.values
		}
	}
	return owner, fields
}

// goType names the Go type that upstream decodes a node's values into.
func goType(n *node) string {
	if n.name != "" && n.kind == kindObject {
		parts := strings.Split(n.name, ".")
		if len(parts) > 1 {
			return strings.Join(parts[len(parts)-2:], ".")
		}
		return n.name
	}
	switch n.kind {
	case kindObject:
		if n.values != nil {
			return "map[string]" + goType(n.values)
		}
		return "struct"
	case kindArray:
		if n.items != nil {
			return "[]" + goType(n.items)
		}
		return "[]interface {}"
	case kindInteger:
		if n.bits == 32 {
			return "int32"
		}
		return "int64"
	case kindNumber:
		return "float64"
	case kindBoolean:
		return "bool"
	case kindBytes:
		return "[]uint8"
	case kindQuantity:
		return "resource.Quantity"
	case kindIntOrString:
		return "intstr.IntOrString"
	}
	return "string"
}
