package jsontree

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
	"unsafe"
)

// MaxDepth of nested values; deeper input is refused before it can exhaust the stack.
const MaxDepth = 256

// Object is a decoded JSON object.
type Object struct {
	Tree map[string]any
	// ManagedFields is the JSON text of metadata.managedFields, which Tree does not
	// have; nil where there was none. "null" counts as none.
	ManagedFields []byte
	// Duplicates are the paths of keys that occur more than once in their object, such
	// as `spec.containers[0].name`. The last occurrence counts.
	Duplicates []string
}

// SyntaxError says that input is not JSON.
type SyntaxError struct {
	Offset int
	msg    string
}

// Error implements error.
func (e *SyntaxError) Error() string {
	return fmt.Sprintf("%s at offset %d", e.msg, e.Offset)
}

// ErrNotObject says that the outermost value is no object.
var ErrNotObject = errors.New("the JSON value is not an object")

// Decode decodes a JSON object. The tree's strings share memory with a copy of data.
func Decode(data []byte) (*Object, error) {
	return decode(string(data))
}

// DecodeShared is Decode for data that nobody will change: the tree's strings point into
// it.
func DecodeShared(data []byte) (*Object, error) {
	return decode(unsafe.String(unsafe.SliceData(data), len(data)))
}

func decode(s string) (*Object, error) {
	d := decoder{s: s}
	d.space()
	if d.i >= len(d.s) || d.s[d.i] != '{' {
		if err := d.skipOnly(); err != nil {
			return nil, err
		}
		return nil, ErrNotObject
	}
	o := &Object{}
	d.out = o
	tree, err := d.object(0)
	if err != nil {
		return nil, err
	}
	d.space()
	if d.i != len(d.s) {
		return nil, d.fail("invalid character after top-level value")
	}
	o.Tree = tree
	return o, nil
}

// DecodeValue decodes any JSON value, metadata.managedFields included.
func DecodeValue(data []byte) (any, error) {
	d := decoder{s: string(data), plain: true, out: &Object{}}
	d.space()
	v, err := d.value(0)
	if err != nil {
		return nil, err
	}
	d.space()
	if d.i != len(d.s) {
		return nil, d.fail("invalid character after top-level value")
	}
	return v, nil
}

type decoder struct {
	s   string
	i   int
	out *Object
	// plain decodes managedFields as any other field.
	plain bool
	// path of the value being decoded, for duplicates.
	path []step
}

type step struct {
	key   string
	index int
}

func (d *decoder) fail(msg string) error { return &SyntaxError{Offset: d.i, msg: msg} }

func (d *decoder) space() {
	for d.i < len(d.s) {
		switch d.s[d.i] {
		case ' ', '\t', '\n', '\r':
			d.i++
		default:
			return
		}
	}
}

// skipOnly checks that the input is one JSON value.
func (d *decoder) skipOnly() error {
	if err := d.skip(0); err != nil {
		return err
	}
	d.space()
	if d.i != len(d.s) {
		return d.fail("invalid character after top-level value")
	}
	return nil
}

func (d *decoder) value(depth int) (any, error) {
	if d.i >= len(d.s) {
		return nil, d.fail("unexpected end of JSON input")
	}
	switch c := d.s[d.i]; {
	case c == '"':
		return d.str()
	case c == '{':
		return d.object(depth)
	case c == '[':
		return d.array(depth)
	case c == 't':
		return true, d.literal("true")
	case c == 'f':
		return false, d.literal("false")
	case c == 'n':
		return nil, d.literal("null")
	case c == '-' || c >= '0' && c <= '9':
		return d.number()
	}
	return nil, d.fail("invalid character looking for beginning of value")
}

func (d *decoder) literal(word string) error {
	if len(d.s)-d.i < len(word) || d.s[d.i:d.i+len(word)] != word {
		return d.fail("invalid character in literal " + word)
	}
	d.i += len(word)
	return nil
}

func (d *decoder) object(depth int) (map[string]any, error) {
	if depth >= MaxDepth {
		return nil, d.fail("nested too deeply")
	}
	d.i++ // {
	d.space()
	if d.i < len(d.s) && d.s[d.i] == '}' {
		d.i++
		return map[string]any{}, nil
	}
	m := make(map[string]any, 8)
	inMetadata := !d.plain && depth == 1 && len(d.path) == 1 && d.path[0].key == "metadata"
	for {
		if d.i >= len(d.s) || d.s[d.i] != '"' {
			return nil, d.fail("object key must be a string")
		}
		k, err := d.str()
		if err != nil {
			return nil, err
		}
		d.space()
		if d.i >= len(d.s) || d.s[d.i] != ':' {
			return nil, d.fail("expected a colon after the object key")
		}
		d.i++
		d.space()
		if inMetadata && k == "managedFields" {
			start := d.i
			if err := d.skip(depth + 1); err != nil {
				return nil, err
			}
			if text := d.s[start:d.i]; text != "null" {
				d.out.ManagedFields = []byte(text)
			}
		} else {
			d.path = append(d.path, step{key: k})
			v, err := d.value(depth + 1)
			if err != nil {
				return nil, err
			}
			before := len(m)
			m[k] = v
			if len(m) == before {
				d.duplicate()
			}
			d.path = d.path[:len(d.path)-1]
		}
		d.space()
		if d.i >= len(d.s) {
			return nil, d.fail("unexpected end of JSON input")
		}
		switch d.s[d.i] {
		case ',':
			d.i++
			d.space()
		case '}':
			d.i++
			return m, nil
		default:
			return nil, d.fail("invalid character after object key:value pair")
		}
	}
}

func (d *decoder) array(depth int) ([]any, error) {
	if depth >= MaxDepth {
		return nil, d.fail("nested too deeply")
	}
	d.i++ // [
	d.space()
	if d.i < len(d.s) && d.s[d.i] == ']' {
		d.i++
		return []any{}, nil
	}
	a := make([]any, 0, 2)
	for {
		d.path = append(d.path, step{index: len(a)})
		v, err := d.value(depth + 1)
		if err != nil {
			return nil, err
		}
		d.path = d.path[:len(d.path)-1]
		a = append(a, v)
		d.space()
		if d.i >= len(d.s) {
			return nil, d.fail("unexpected end of JSON input")
		}
		switch d.s[d.i] {
		case ',':
			d.i++
			d.space()
		case ']':
			d.i++
			return a, nil
		default:
			return nil, d.fail("invalid character after array element")
		}
	}
}

func (d *decoder) duplicate() {
	var b []byte
	for _, st := range d.path {
		if st.key == "" && st.index >= 0 && len(b) > 0 {
			b = append(b, '[')
			b = strconv.AppendInt(b, int64(st.index), 10)
			b = append(b, ']')
			continue
		}
		if len(b) > 0 {
			b = append(b, '.')
		}
		b = append(b, st.key...)
	}
	d.out.Duplicates = append(d.out.Duplicates, string(b))
}

func (d *decoder) number() (any, error) {
	start := d.i
	if d.s[d.i] == '-' {
		d.i++
	}
	switch {
	case d.i < len(d.s) && d.s[d.i] == '0':
		d.i++
	case d.i < len(d.s) && d.s[d.i] >= '1' && d.s[d.i] <= '9':
		d.digits()
	default:
		return nil, d.fail("invalid character in numeric literal")
	}
	integer := true
	if d.i < len(d.s) && d.s[d.i] == '.' {
		integer = false
		d.i++
		if !d.digits() {
			return nil, d.fail("invalid character after decimal point in numeric literal")
		}
	}
	if d.i < len(d.s) && (d.s[d.i] == 'e' || d.s[d.i] == 'E') {
		integer = false
		d.i++
		if d.i < len(d.s) && (d.s[d.i] == '+' || d.s[d.i] == '-') {
			d.i++
		}
		if !d.digits() {
			return nil, d.fail("invalid character in exponent of numeric literal")
		}
	}
	text := d.s[start:d.i]
	if integer {
		if n, err := strconv.ParseInt(text, 10, 64); err == nil {
			return n, nil
		}
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsInf(f, 0) {
		return nil, &SyntaxError{Offset: start, msg: "number " + text + " is out of range"}
	}
	return f, nil
}

func (d *decoder) digits() bool {
	start := d.i
	for d.i < len(d.s) && d.s[d.i] >= '0' && d.s[d.i] <= '9' {
		d.i++
	}
	return d.i > start
}

// str decodes a string. Strings without escapes are parts of the input.
func (d *decoder) str() (string, error) {
	d.i++ // "
	start := d.i
	ascii := true
	for d.i < len(d.s) {
		c := d.s[d.i]
		switch {
		case c == '"':
			text := d.s[start:d.i]
			d.i++
			if !ascii && !utf8.ValidString(text) {
				return string([]rune(text)), nil
			}
			return text, nil
		case c == '\\':
			return d.escaped(start)
		case c < ' ':
			return "", d.fail("invalid control character in string literal")
		case c >= utf8.RuneSelf:
			ascii = false
		}
		d.i++
	}
	return "", d.fail("unexpected end of JSON input")
}

func (d *decoder) escaped(start int) (string, error) {
	b := append(make([]byte, 0, 2*(d.i-start)+32), d.s[start:d.i]...)
	for d.i < len(d.s) {
		c := d.s[d.i]
		switch {
		case c == '"':
			d.i++
			if !utf8.Valid(b) {
				return string([]rune(string(b))), nil
			}
			return string(b), nil
		case c < ' ':
			return "", d.fail("invalid control character in string literal")
		case c != '\\':
			b = append(b, c)
			d.i++
			continue
		}
		d.i++
		if d.i >= len(d.s) {
			break
		}
		c = d.s[d.i]
		d.i++
		switch c {
		case '"', '\\', '/':
			b = append(b, c)
		case 'b':
			b = append(b, '\b')
		case 'f':
			b = append(b, '\f')
		case 'n':
			b = append(b, '\n')
		case 'r':
			b = append(b, '\r')
		case 't':
			b = append(b, '\t')
		case 'u':
			r, ok := d.hex4()
			if !ok {
				return "", d.fail("invalid character in \\u hexadecimal character escape")
			}
			if utf16.IsSurrogate(r) {
				at := d.i
				low := rune(utf8.RuneError)
				if d.i+1 < len(d.s) && d.s[d.i] == '\\' && d.s[d.i+1] == 'u' {
					d.i += 2
					if l, ok := d.hex4(); ok {
						low = l
					}
				}
				if r = utf16.DecodeRune(r, low); r == utf8.RuneError {
					d.i = at
				}
			}
			b = utf8.AppendRune(b, r)
		default:
			d.i--
			return "", d.fail("invalid character in string escape code")
		}
	}
	return "", d.fail("unexpected end of JSON input")
}

func (d *decoder) hex4() (rune, bool) {
	if len(d.s)-d.i < 4 {
		return 0, false
	}
	var r rune
	for range 4 {
		c := d.s[d.i]
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
		d.i++
	}
	return r, true
}

// skip passes over one value and checks its syntax.
func (d *decoder) skip(depth int) error {
	if depth >= MaxDepth {
		return d.fail("nested too deeply")
	}
	if d.i >= len(d.s) {
		return d.fail("unexpected end of JSON input")
	}
	open := d.s[d.i]
	if open != '{' && open != '[' {
		_, err := d.value(depth)
		return err
	}
	d.i++
	d.space()
	if d.i < len(d.s) && d.s[d.i] == open+2 { // '{'+2 is '}', '['+2 is ']'
		d.i++
		return nil
	}
	for {
		if open == '{' {
			if d.i >= len(d.s) || d.s[d.i] != '"' {
				return d.fail("object key must be a string")
			}
			if _, err := d.str(); err != nil {
				return err
			}
			d.space()
			if d.i >= len(d.s) || d.s[d.i] != ':' {
				return d.fail("expected a colon after the object key")
			}
			d.i++
			d.space()
		}
		if err := d.skip(depth + 1); err != nil {
			return err
		}
		d.space()
		if d.i >= len(d.s) {
			return d.fail("unexpected end of JSON input")
		}
		switch d.s[d.i] {
		case ',':
			d.i++
			d.space()
		case open + 2:
			d.i++
			return nil
		default:
			return d.fail("invalid character in an object or array")
		}
	}
}
