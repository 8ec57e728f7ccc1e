package protocol

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
	"unsafe"
)

// maxDepth of nested values: deeper input is refused before it can exhaust the stack.
const maxDepth = 256

var (
	errNotObject = errors.New("the JSON value is not an object")
	errEnd       = errors.New("unexpected end of JSON input")
)

func stringOf(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// decoder reads one JSON value. encoding/json takes five times as long for a tree, which both
// ends make of each object in each call.
type decoder struct {
	s string
	i int
}

func (d *decoder) root() (map[string]any, error) {
	d.space()
	if d.i >= len(d.s) || d.s[d.i] != '{' {
		if rest := strings.TrimSpace(d.s[d.i:]); rest != "" && json.Valid([]byte(rest)) {
			return nil, errNotObject
		}
		return nil, d.wrong("the beginning of an object")
	}
	tree, err := d.object(0)
	if err != nil {
		return nil, err
	}
	if d.space(); d.i != len(d.s) {
		return nil, d.wrong("the end")
	}
	return tree, nil
}

func (d *decoder) wrong(wanted string) error {
	if d.i >= len(d.s) {
		return errEnd
	}
	return fmt.Errorf("invalid character %q at offset %d: %s was expected", d.s[d.i], d.i, wanted)
}

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

// next skips white space and returns the next character, 0 at the end.
func (d *decoder) next() byte {
	d.space()
	if d.i >= len(d.s) {
		return 0
	}
	return d.s[d.i]
}

func (d *decoder) value(depth int) (any, error) {
	switch c := d.next(); {
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
	return nil, d.wrong("a value")
}

func (d *decoder) literal(word string) error {
	if !strings.HasPrefix(d.s[d.i:], word) {
		return d.wrong(word)
	}
	d.i += len(word)
	return nil
}

func (d *decoder) object(depth int) (map[string]any, error) {
	if depth >= maxDepth {
		return nil, fmt.Errorf("nested more than %d levels deep", maxDepth)
	}
	d.i++ // {
	m := map[string]any{}
	if d.next() == '}' {
		d.i++
		return m, nil
	}
	for {
		if d.next() != '"' {
			return nil, d.wrong("a key")
		}
		k, err := d.str()
		if err != nil {
			return nil, err
		}
		if d.next() != ':' {
			return nil, d.wrong("a colon")
		}
		d.i++
		if m[k], err = d.value(depth + 1); err != nil {
			return nil, err
		}
		switch d.next() {
		case ',':
			d.i++
		case '}':
			d.i++
			return m, nil
		default:
			return nil, d.wrong("a comma or the end of the object")
		}
	}
}

func (d *decoder) array(depth int) ([]any, error) {
	if depth >= maxDepth {
		return nil, fmt.Errorf("nested more than %d levels deep", maxDepth)
	}
	d.i++ // [
	a := []any{}
	if d.next() == ']' {
		d.i++
		return a, nil
	}
	for {
		v, err := d.value(depth + 1)
		if err != nil {
			return nil, err
		}
		a = append(a, v)
		switch d.next() {
		case ',':
			d.i++
		case ']':
			d.i++
			return a, nil
		default:
			return nil, d.wrong("a comma or the end of the array")
		}
	}
}

// number takes integers that fit into int64 as such, everything else as float64.
func (d *decoder) number() (any, error) {
	start := d.i
	integer := true
	for d.i < len(d.s) {
		switch c := d.s[d.i]; {
		case c >= '0' && c <= '9' || c == '-':
		case c == '+' || c == '.' || c == 'e' || c == 'E':
			integer = false
		default:
			goto end
		}
		d.i++
	}
end:
	text := d.s[start:d.i]
	digits := strings.TrimPrefix(text, "-")
	if integer && (digits == "0" || digits != "" && digits[0] != '0') {
		if n, err := strconv.ParseInt(text, 10, 64); err == nil {
			return n, nil
		}
	}
	if !json.Valid([]byte(text)) {
		return nil, fmt.Errorf("%q at offset %d is no number", text, start)
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsInf(f, 0) {
		return nil, fmt.Errorf("number %s at offset %d is out of range", text, start)
	}
	return f, nil
}

// str decodes a string. Those without escapes are parts of the input.
func (d *decoder) str() (string, error) {
	start := d.i
	d.i++ // "
	plain := true
	for d.i < len(d.s) {
		switch c := d.s[d.i]; {
		case c == '"':
			d.i++
			text := d.s[start+1 : d.i-1]
			if plain || !strings.Contains(text, `\`) && utf8.ValidString(text) {
				return text, nil
			}
			var out string
			if err := json.Unmarshal([]byte(d.s[start:d.i]), &out); err != nil {
				return "", fmt.Errorf("string at offset %d: %w", start, err)
			}
			return out, nil
		case c == '\\':
			plain = false
			d.i++ // what is escaped may be a quotation mark
		case c < ' ':
			return "", d.wrong("no control character in a string")
		case c >= utf8.RuneSelf:
			plain = false
		}
		d.i++
	}
	return "", errEnd
}
