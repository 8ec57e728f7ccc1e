package protocol

import (
	"encoding/json"
	"slices"
	"strconv"
	"unicode/utf8"
)

// encoder appends the canonical JSON of trees.
type encoder struct {
	b []byte
	// keys is a stack of sorted keys: every object being encoded has a part of it.
	keys []string
	// loose leaves keys in the order of the map, which is none.
	loose bool
}

func (e *encoder) value(v any) error {
	switch v := v.(type) {
	case nil:
		e.b = append(e.b, "null"...)
	case string:
		return e.str(v)
	case bool:
		e.b = strconv.AppendBool(e.b, v)
	case int64:
		e.b = strconv.AppendInt(e.b, v, 10)
	case map[string]any:
		return e.object(v)
	case []any:
		e.b = append(e.b, '[')
		for i := range v {
			if i > 0 {
				e.b = append(e.b, ',')
			}
			if err := e.value(v[i]); err != nil {
				return err
			}
		}
		e.b = append(e.b, ']')
	default:
		return e.other(v)
	}
	return nil
}

// other encodes what is rare, or what authors put into a tree that does not belong there.
func (e *encoder) other(v any) error {
	b, err := json.Marshal(v)
	e.b = append(e.b, b...)
	return err
}

func (e *encoder) object(m map[string]any) error {
	if e.loose {
		return e.anyOrder(m)
	}
	start := len(e.keys)
	for k := range m {
		e.keys = append(e.keys, k)
	}
	slices.Sort(e.keys[start:])
	e.b = append(e.b, '{')
	for i := start; i < len(e.keys); i++ {
		if i > start {
			e.b = append(e.b, ',')
		}
		k := e.keys[i]
		if err := e.str(k); err != nil {
			return err
		}
		e.b = append(e.b, ':')
		if err := e.value(m[k]); err != nil {
			return err
		}
	}
	e.keys = e.keys[:start]
	e.b = append(e.b, '}')
	return nil
}

func (e *encoder) anyOrder(m map[string]any) error {
	e.b = append(e.b, '{')
	first := true
	for k, v := range m {
		if !first {
			e.b = append(e.b, ',')
		}
		first = false
		if err := e.str(k); err != nil {
			return err
		}
		e.b = append(e.b, ':')
		if err := e.value(v); err != nil {
			return err
		}
	}
	e.b = append(e.b, '}')
	return nil
}

// str encodes a string: most need no escapes and are copied.
func (e *encoder) str(s string) error {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			return e.other(s)
		}
	}
	e.b = append(e.b, '"')
	e.b = append(e.b, s...)
	e.b = append(e.b, '"')
	return nil
}
