package jsontree

import (
	"math"
	"slices"
	"strconv"
	"sync"
	"unicode/utf8"
)

// Encode encodes an object canonically, with managedFields put back into its metadata and
// with an empty metadata.resourceVersion. at is the offset where the version's digits
// belong, or -1 where the tree has no metadata object.
func Encode(tree map[string]any, managedFields []byte) (data []byte, at int) {
	e := encoders.Get().(*encoder)
	defer encoders.Put(e)
	e.b, e.at, e.managed = e.b[:0], -1, managedFields
	e.root(tree)
	return append(make([]byte, 0, len(e.b)+12), e.b...), e.at
}

// Append appends the canonical encoding of any value.
func Append(b []byte, v any) []byte {
	e := encoders.Get().(*encoder)
	defer encoders.Put(e)
	kept := e.b
	e.b = b
	e.value(v)
	b, e.b = e.b, kept
	return b
}

// AppendString appends a string as JSON.
func AppendString(b []byte, s string) []byte { return appendString(b, s) }

var encoders = sync.Pool{New: func() any { return &encoder{b: make([]byte, 0, 4096)} }}

type encoder struct {
	b       []byte
	at      int
	managed []byte
	// keys is a stack of sorted keys: every object being encoded has a part of it.
	keys []string
}

func (e *encoder) root(tree map[string]any) {
	start := e.pushKeys(tree)
	// apiVersion leads whatever sorts before it (a ClusterRole's aggregationRule), so that
	// the version of stored bytes is known without decoding them.
	for i := start + 1; i < len(e.keys) && e.keys[i-1] < "apiVersion"; i++ {
		if e.keys[i] == "apiVersion" {
			copy(e.keys[start+1:i+1], e.keys[start:i])
			e.keys[start] = "apiVersion"
			break
		}
	}
	e.b = append(e.b, '{')
	for i := start; i < len(e.keys); i++ {
		if i > start {
			e.b = append(e.b, ',')
		}
		k := e.keys[i]
		e.b = appendString(e.b, k)
		e.b = append(e.b, ':')
		if m, ok := tree[k].(map[string]any); ok && k == "metadata" {
			e.metadata(m)
			continue
		}
		e.value(tree[k])
	}
	e.keys = e.keys[:start]
	e.b = append(e.b, '}')
}

func (e *encoder) metadata(m map[string]any) {
	start := e.pushKeys(m)
	e.b = append(e.b, '{')
	n := 0
	sep := func() {
		if n > 0 {
			e.b = append(e.b, ',')
		}
		n++
	}
	managed, version := len(e.managed) > 0, true
	put := func(before string, last bool) {
		if managed && (last || before > "managedFields") {
			managed = false
			sep()
			e.b = append(e.b, `"managedFields":`...)
			e.b = append(e.b, e.managed...)
		}
		if version && (last || before > "resourceVersion") {
			version = false
			sep()
			e.b = append(e.b, `"resourceVersion":"`...)
			e.at = len(e.b)
			e.b = append(e.b, '"')
		}
	}
	for i := start; i < len(e.keys); i++ {
		k := e.keys[i]
		if k == "resourceVersion" || k == "managedFields" {
			continue
		}
		put(k, false)
		sep()
		e.b = appendString(e.b, k)
		e.b = append(e.b, ':')
		e.value(m[k])
	}
	put("", true)
	e.keys = e.keys[:start]
	e.b = append(e.b, '}')
}

// pushKeys puts the sorted keys of m on the stack and returns where they start.
func (e *encoder) pushKeys(m map[string]any) int {
	start := len(e.keys)
	for k := range m {
		e.keys = append(e.keys, k)
	}
	slices.Sort(e.keys[start:])
	return start
}

func (e *encoder) value(v any) {
	switch v := v.(type) {
	case nil:
		e.b = append(e.b, "null"...)
	case string:
		e.b = appendString(e.b, v)
	case bool:
		e.b = strconv.AppendBool(e.b, v)
	case int64:
		e.b = strconv.AppendInt(e.b, v, 10)
	case map[string]any:
		start := e.pushKeys(v)
		e.b = append(e.b, '{')
		for i := start; i < len(e.keys); i++ {
			if i > start {
				e.b = append(e.b, ',')
			}
			k := e.keys[i]
			e.b = appendString(e.b, k)
			e.b = append(e.b, ':')
			e.value(v[k])
		}
		e.keys = e.keys[:start]
		e.b = append(e.b, '}')
	case []any:
		e.b = append(e.b, '[')
		for i := range v {
			if i > 0 {
				e.b = append(e.b, ',')
			}
			e.value(v[i])
		}
		e.b = append(e.b, ']')
	case float64:
		e.b = appendFloat(e.b, v)
	default:
		e.b = append(e.b, other(v)...)
	}
}

// appendFloat writes a float as encoding/json does, which is what clients compare with.
func appendFloat(b []byte, f float64) []byte {
	if math.IsInf(f, 0) || math.IsNaN(f) {
		return append(b, "null"...)
	}
	format := byte('f')
	if abs := math.Abs(f); abs != 0 && (abs < 1e-6 || abs >= 1e21) {
		format = 'e'
	}
	b = strconv.AppendFloat(b, f, format, -1, 64)
	if format == 'e' {
		// e-09 to e-9
		if n := len(b); n >= 4 && b[n-4] == 'e' && b[n-3] == '-' && b[n-2] == '0' {
			b[n-2] = b[n-1]
			b = b[:n-1]
		}
	}
	return b
}

const hexDigits = "0123456789abcdef"

func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' && c < utf8.RuneSelf {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(s[i:])
			switch {
			case r == utf8.RuneError && size == 1:
				b = append(b, s[start:i]...)
				b = append(b, `\ufffd`...)
				i += size
				start = i
			case r == 0x2028 || r == 0x2029:
				b = append(b, s[start:i]...)
				b = append(b, `\u202`...)
				b = append(b, hexDigits[r&0xf])
				i += size
				start = i
			default:
				i += size
			}
			continue
		}
		b = append(b, s[start:i]...)
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\n':
			b = append(b, '\\', 'n')
		case '\r':
			b = append(b, '\\', 'r')
		case '\t':
			b = append(b, '\\', 't')
		default:
			b = append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&0xf])
		}
		i++
		start = i
	}
	b = append(b, s[start:]...)
	return append(b, '"')
}
